"""What the page's templates are given: the report, and beside each gate what its evidence adds to it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup
from msgspec import Struct

from gates.html import distribution, reading, timeline
from gates.html.distribution import Values
from gates.html.reading import Probes, Shape
from gates.judge import telling
from gates.judge.connection import Evidence, RunKey
from gates.release.report import AssertionReport, FaultReport, GateReport, Report, Status
from gates.spec.assertion import Judged, Named

FIRST: tuple[Status, ...] = ("FAIL", "UNKNOWN", "PASS", "SKIP", "MISSING")
"""In this order gates are read: what holds the release comes first."""


class Legend(Struct, frozen=True):
    """One kind of mark in a timeline, and how many requests it stands for."""

    kind: str
    shape: str
    text: str
    count: int


class FaultView(Struct, frozen=True):
    """A fault with what its probes saw; `inside` counts the requests that were wholly within it."""

    report: FaultReport
    probes: Sequence[Probes]
    inside: int


class AssertionView(Struct, frozen=True):
    """An assertion with the picture of its rows and the columns of those that violate it."""

    report: AssertionReport
    columns: Sequence[str]
    histogram: Markup | None
    histogram_of: str
    values: Sequence[Values]


class GateView(Struct, frozen=True, kw_only=True):
    """A gate; without evidence of a run, only its report. `beside` are its reasons that stand in no assertion."""

    report: GateReport
    anchor: str
    timeline: Markup | None
    legend: Sequence[Legend]
    lives: bool
    faults: Sequence[FaultView]
    assertions: Sequence[AssertionView]
    queries: Mapping[str, Named]
    beside: Sequence[str]


class PageView(Struct, frozen=True, kw_only=True):
    """All gates in the order of the release and in the order of reading, and what could not be drawn."""

    listed: Sequence[GateView]
    read: Sequence[GateView]
    problems: Sequence[str]


def view(evidence: Evidence, report: Report, judged: Mapping[str, Judged]) -> PageView:
    """What is drawn of a release. Evidence that is missing leaves out pictures, nothing else."""
    anchors = _anchors(report.gates)
    listed = [
        _gate(evidence, gate, anchor, judged.get(gate.name))
        for gate, anchor in zip(report.gates, anchors, strict=True)
    ]
    read = sorted(listed, key=lambda gate: FIRST.index(gate.report.status))
    return PageView(listed=listed, read=read, problems=evidence.problems)


def _anchors(gates: Sequence[GateReport]) -> Iterator[str]:
    """One id per entry; a gate that ran several times has several entries."""
    seen: dict[str, int] = {}
    for gate in gates:
        plain = re.sub(r"[^a-z0-9]+", "-", f"{gate.id} {gate.name}".lower()).strip("-")
        seen[plain] = number = seen.get(plain, 0) + 1
        yield f"gate-{plain}" if number == 1 else f"gate-{plain}-run-{number}"


def _gate(evidence: Evidence, gate: GateReport, anchor: str, judged: Judged | None) -> GateView:
    key = (gate.run_id, gate.name) if gate.run_id is not None else None
    can_draw = key is not None and evidence.has("requests")
    drawn = reading.timeline_of(evidence, key, gate.faults) if key and can_draw else None
    shapes = reading.shapes_of(evidence, judged, key) if key and judged else {}
    return GateView(
        report=gate,
        anchor=anchor,
        timeline=timeline.draw(drawn) if drawn is not None else None,
        legend=list(legend(drawn)) if drawn is not None else [],
        lives=bool(drawn and drawn.lives),
        faults=list(_faults(evidence, gate, key)),
        assertions=sorted(
            (_assertion(own, shapes.get(own.that)) for own in gate.assertions),
            key=lambda own: FIRST.index(own.report.status),
        ),
        queries=gate.queries or (judged.with_ if judged is not None else {}),
        beside=_beside(gate),
    )


def _beside(gate: GateReport) -> list[str]:
    if gate.status == "PASS":
        return []
    of_assertions = {telling.line(own) for own in gate.assertions}
    return [reason for reason in gate.reasons or [gate.detail] if reason not in of_assertions]


def legend(drawn: timeline.Timeline) -> Iterator[Legend]:
    """The kinds of marks that there are in a timeline."""
    for kind, text in timeline.OUTCOMES.items():
        count = drawn.count(kind)
        if count:
            yield Legend(kind, timeline.SHAPES[kind], text, count)


def _faults(evidence: Evidence, gate: GateReport, key: RunKey | None) -> Iterator[FaultView]:
    counts = (
        reading.inside(evidence, key) if key and gate.faults and evidence.has("requests") else {}
    )
    for fault in gate.faults:
        probes = reading.probes_of(evidence, key, fault.fault) if key else []
        yield FaultView(fault, probes, counts.get(fault.fault, 0))


def _assertion(own: AssertionReport, shape: Shape | None) -> AssertionView:
    drawn = shape.histogram if shape is not None else None
    return AssertionView(
        report=own,
        columns=list(dict.fromkeys(name for row in own.rows for name in row)),
        histogram=distribution.draw(drawn) if drawn is not None else None,
        histogram_of=drawn.column if drawn is not None else "",
        values=shape.values if shape is not None else [],
    )

"""Whether the faults of a run took hold, computed again from what its probes saw."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from chaos.evidence.schema import Fault, LinkBypass, LinkProbe
from chaos.evidence.schema import Link as LinkTraffic
from gates.judge import integrity, tables
from gates.judge.connection import Evidence, RunKey, RunRecord
from gates.judge.meeting import not_met
from gates.judge.result import FaultResult

Attributes = Mapping[str, float]


class Signature(Protocol):
    """What a kind of fault looks like from outside. Pure: of its attributes as recorded and the probes of one window."""

    @property
    def refuses(self) -> bool:
        """Whether new connections are refused, so that nobody sees who asked for one, and those that were open are ended."""

    def took_hold(self, attributes: Attributes, probes: Sequence[LinkProbe], /) -> str | None:
        """None when it was away before, took hold and held; otherwise why that cannot be said."""

    def clean_again(self, attributes: Attributes, probes: Sequence[LinkProbe], /) -> str | None:
        """None when it was gone afterwards; otherwise why that cannot be said."""


Signatures = Mapping[str, Signature]
"""By the kind of fault. Whoever calls the judge hands them in: it imports nothing that makes faults."""


def judge_faults(
    evidence: Evidence, record: RunRecord, planned: Sequence[str], signatures: Signatures
) -> list[FaultResult]:
    """One result per fault that was planned or recorded, in order of their rows; a fault without a row is not proven."""
    rows = evidence.rows(Fault, record.key)
    windows = _windows(evidence.rows(LinkProbe, record.key))
    seen: dict[str, int] = {}
    results = []
    for row in rows:
        index = seen.get(row.fault, 0)
        seen[row.fault] = index + 1
        probes = windows.get(row.fault, [])
        why = _unproven(
            evidence, record, row, probes[index] if index < len(probes) else [], signatures
        )
        results.append(_result(row, why))
    return results + [_absent(name) for name in dict.fromkeys(planned) if name not in seen]


def _windows(probes: Sequence[LinkProbe]) -> dict[str, list[list[LinkProbe]]]:
    """The probes of each fault, apart where a fault of a repeated step was opened again."""
    windows: dict[str, list[list[LinkProbe]]] = {}
    last: dict[str, str] = {}
    for probe in probes:
        if probe.fault is None:
            continue
        own = windows.setdefault(probe.fault, [])
        if probe.phase == "before" and last.get(probe.fault) != "before":
            own.append([])
        last[probe.fault] = probe.phase
        if own:
            own[-1].append(probe)
    return windows


def _unproven(
    evidence: Evidence,
    record: RunRecord,
    row: Fault,
    probes: Sequence[LinkProbe],
    signatures: Signatures,
) -> str | None:
    """The first reason why the fault counts for nothing, or None."""
    return next(_reasons(evidence, record, row, probes, signatures), None)


def _reasons(
    evidence: Evidence,
    record: RunRecord,
    row: Fault,
    probes: Sequence[LinkProbe],
    signatures: Signatures,
) -> Iterator[str]:
    yield from _recorded_reasons(row)
    yield from _recomputed_reasons(row, probes, signatures)
    yield from _traffic_reasons(evidence, record, row, signatures.get(row.kind))


def _recorded_reasons(row: Fault) -> Iterator[str]:
    if not row.proven:
        yield row.why or "it was recorded as not proven"
    if row.proven_ms is None or row.proven_ms < row.on_ms:
        yield "it has no time from which it was proven"
    if row.off_ms is None or (row.proven_ms is not None and row.off_ms < row.proven_ms):
        yield "it was never asked off"
    if row.clean_ms is None:
        yield "the path was not seen clean again"


def _recomputed_reasons(
    row: Fault, probes: Sequence[LinkProbe], signatures: Signatures
) -> Iterator[str]:
    attributes = msgspec.json.decode(row.attributes, type=dict[str, float])
    signature = signatures.get(row.kind)
    if signature is None:
        yield f"nothing is known about proving a {row.kind}"
        return
    if any(probe.link != row.link for probe in probes):
        yield "its probes are of another link"
    if not probes:
        yield "it has no probes"
        return
    held = signature.took_hold(attributes, probes)
    if held is not None:
        yield held
    clean = signature.clean_again(attributes, probes)
    if clean is not None:
        yield f"after the fault: {clean}"


def _traffic_reasons(
    evidence: Evidence, record: RunRecord, row: Fault, signature: Signature | None
) -> Iterator[str]:
    """The target's own traffic must have been on the link before and inside, and nowhere past it (rule: met the fault)."""
    first = _first_own(evidence, record.key).get(row.link)
    if first is None or first >= row.on_ms or row.own_before < 1:
        yield "no connection of the target's own went over the link before"
    past = [bypass for bypass in evidence.rows(LinkBypass, record.key) if bypass.link == row.link]
    if past:
        yield f"{len(past)} connections went past the link, the first from {past[0].process or past[0].client}"
    checks = list(_link_checks(evidence, record))
    checked = [carried for link, carried in checks if link == row.link]
    if not checked:
        yield "there is no evidence that the link carries anything when all is well"
    elif not all(checked):
        yield "the link carried nothing when all was well"
    if signature is not None:
        links = {link for link, _ in checks}
        missing = not_met(evidence, record.key, row, refuses=signature.refuses, links=links)
        if missing is not None:
            yield missing


def _link_checks(evidence: Evidence, record: RunRecord) -> Iterator[tuple[str, bool]]:
    """(link, whether it carried the target's own traffic) of every link check of this run's target."""
    for other in evidence.runs():
        if other.run.target == record.run.target:
            first = _first_own(evidence, other.key)
            links = evidence.rows(LinkTraffic, other.key)
            if other.key != record.key and links and integrity.unusable(evidence, other):
                # What was cut off or changed says nothing of any link.
                continue
            for link in links:
                own = link.own_connections > 0 or link.link in first
                yield link.link, own and link.sent_bytes + link.received_bytes > 0


def _first_own(evidence: Evidence, run: RunKey) -> dict[str, float]:
    """When the first connection of the target's own was accepted, per link."""
    found = evidence.grouped(
        "first own connections",
        f"SELECT run_id, gate, link, min(connected_ms) FROM {tables.stored('link_connections')}"
        " WHERE own GROUP BY ALL",
    )
    return {str(link): float(str(first)) for link, first in found.get(run, [])}


def _result(row: Fault, why: str | None) -> FaultResult:
    return FaultResult(
        fault=row.fault,
        kind=row.kind,
        link=row.link,
        direction=row.direction,
        attributes=msgspec.json.decode(row.attributes, type=dict[str, float]),
        proven=why is None,
        on_ms=row.on_ms,
        proven_ms=row.proven_ms,
        off_ms=row.off_ms,
        clean_ms=row.clean_ms,
        own_before=row.own_before,
        why=why,
    )


def _absent(name: str) -> FaultResult:
    return FaultResult(
        fault=name,
        kind="",
        link="",
        direction="",
        attributes={},
        proven=False,
        on_ms=None,
        proven_ms=None,
        off_ms=None,
        clean_ms=None,
        own_before=0,
        why="it was planned, but nothing was recorded of it",
    )

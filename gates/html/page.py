"""Renders `gate-report.html` from a report and the evidence beside it.

What draws is imported when something is drawn: it takes a fifth of a start, and most commands draw nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gates.html import changes, rendering
from gates.release.report import GateReport, Report
from gates.spec.assertion import Judged

if TYPE_CHECKING:
    from gates.html.view import GateView
    from gates.judge.connection import Evidence

NAME = "gate-report.html"


def render(
    directory: Path, report: Report, base: Report | None, judged: Mapping[str, Judged]
) -> str:
    """The page of a release directory, as `render_open` gives it of one that is open already."""
    from gates.judge.connection import open_release  # noqa: PLC0415 - see above

    collected = {name: cols for gate in judged.values() for name, cols in gate.collected.items()}
    evidence = open_release(directory / "evidence", collected)
    try:
        return render_open(evidence, report, base, judged)
    finally:
        evidence.connection.close()


def render_open(
    evidence: "Evidence", report: Report, base: Report | None, judged: Mapping[str, Judged]
) -> str:
    """The whole page as one text that loads nothing; `base` is the report to compare with, `judged` what each gate asserts.

    All that comes from the report or the evidence is escaped by the templates; the policy in the page's
    head makes a browser refuse every script but ours, and every request.
    """
    from gates.html.view import view  # noqa: PLC0415 - see above

    shown = view(evidence, report, judged)
    return rendering.page(
        "page.html.j2",
        script="page.js",
        report=report,
        summary=report.summary,
        page=shown,
        holding=[gate for gate in shown.read if _holds(gate.report)],
        base=changes.since(base, report) if base is not None else None,
        words=changes.WORDS,
        epics=sorted({gate.epic for gate in report.gates if gate.epic}),
        tally=_tally,
    )


def _holds(gate: GateReport) -> bool:
    """Whether this gate keeps the release from being promoted by what was found of it."""
    return gate.status in ("FAIL", "UNKNOWN") or gate.proven is False


def _tally(gates: "list[GateView]", class_: str) -> list[tuple[str, int]]:
    """How many gates of a class have which status, in the order of a bar; none that is zero."""
    order = ("PASS", "FAIL", "UNKNOWN", "SKIP", "MISSING")
    own = [gate.report.status for gate in gates if gate.report.class_ == class_]
    return [(status, own.count(status)) for status in order if status in own]

"""Markdown for a CI step summary or a pull request: the verdict, what holds it, and the rest folded away."""

import itertools
import re
from collections.abc import Iterator, Sequence

from gates.formats.console import commit_line, ledger_line, reasons_of, repetitions
from gates.formats.printing import printable
from gates.html import words
from gates.release.report import GateReport, Report, Status
from gates.release.unproven import held_beside

SIGN: dict[Status, str] = {
    "PASS": "✅",
    "FAIL": "❌",
    "UNKNOWN": "❔",
    "SKIP": "⏭",
    "MISSING": "◌",
}
MOST_REASONS = 10
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~@&:$])")


def render(report: Report) -> str:
    """The whole summary. Whatever comes from evidence is shown as text: no markup of it has any effect."""
    return "\n".join(_lines(report)) + "\n"


def text(value: str) -> str:
    """Text in one line in which nothing is markup: neither HTML, links and mentions nor table cells."""
    line = " ".join(value.split())
    return _SPECIAL.sub(r"\\\1", printable(line))


def code(value: str) -> str:
    """Text as code in one line, also inside a table; a fence longer than any in it."""
    line = printable(" ".join(value.split())).replace("|", "¦") or " "
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _lines(report: Report) -> Iterator[str]:
    sign = SIGN["PASS"] if report.verdict == "PROMOTE" else SIGN["FAIL"]
    yield f"## {sign} {text(report.version)}: {report.verdict}\n"
    yield f"{text(report.reason)}\n"
    yield from _scores(report)
    holding = [
        gate for gate in report.gates if gate.status in ("FAIL", "UNKNOWN") or gate.proven is False
    ]
    beside = held_beside(report)
    if holding or beside:
        yield "### What holds it\n"
        for reason in beside:
            yield f"- {text(reason)}"
        for gate in holding:
            yield from _held(gate)
    again = [line for gate in report.gates for line in repetitions(gate)]
    yield from _folded("Repeated because the host was slow", [f"- {text(line)}" for line in again])
    yield from _folded("Invariants", list(_invariants(report)))
    ran = [gate for gate in report.gates if gate.status not in ("MISSING", "SKIP")]
    yield from _folded(f"{len(ran)} gates that ran", list(_gates(ran)))
    missing = [gate.id for gate in report.gates if gate.status == "MISSING"]
    yield from _folded(
        f"{len(missing)} missing gates", [text(", ".join(missing))] if missing else []
    )
    if report.ledger.lines:
        yield f"{text(ledger_line(report))}\n"
    yield f"{text(commit_line(report))}, {words.number(report.elapsed_s)} s, exit code {report.exit_code}"


def _scores(report: Report) -> Iterator[str]:
    summary = report.summary
    held = sum(invariant.holds is True for invariant in report.invariants)
    yield "| floor | delta | invariants | failed | unknown | missing | not run |"
    yield "|---|---|---|---|---|---|---|"
    yield (
        f"| {summary.floor_pass} of {summary.floor_total} | {summary.delta_pass} of {summary.delta_total}"
        f" | {held} of {len(report.invariants)} | {summary.fail} | {summary.unknown} | {summary.missing}"
        f" | {summary.skip} |\n"
    )


def _held(gate: GateReport) -> Iterator[str]:
    yield f"- {SIGN[gate.status]} **{text(gate.id)} {text(gate.name)}**: {text(gate.title)}  "
    if gate.proven is False:
        yield f"  unproven: {text(gate.unproven or 'it was not shown to be able to fail')}  "
    yield f"  again: {code(gate.rerun)}"
    if gate.status != "PASS":
        for reason, more in itertools.islice(reasons_of(gate), MOST_REASONS):
            yield f"  - {text(reason)}"
            for row in more:
                yield f"    - {code(row)}"


def _invariants(report: Report) -> Iterator[str]:
    states = {True: "✅ holds", False: "❌ broken", None: "❔ not measured"}
    if report.invariants:
        yield "| | statement | found |\n|---|---|---|"
    for own in report.invariants:
        yield f"| {states[own.holds]} | {text(own.statement)} | {text(own.detail)} |"


def _gates(gates: Sequence[GateReport]) -> Iterator[str]:
    if gates:
        yield "| | gate | | assertions | s |\n|---|---|---|---|---|"
    for gate in gates:
        yield (
            f"| {SIGN[gate.status]} {gate.status} | {text(gate.id)} {text(gate.name)} | {text(gate.title)}"
            f" | {len(gate.assertions)} | {gate.duration_s:.1f} |"
        )


def _folded(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"<details><summary>{title}</summary>\n"
        yield from lines
        yield "\n</details>\n"

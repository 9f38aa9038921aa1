"""A report for eyes: on the console, and as JUnit XML. Both say only what is in the report."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaos.errors import Problem, errors_among
from gates.formats.printing import xml_text
from gates.judge import telling
from gates.prove.evaluate import GateProof
from gates.release.report import GateReport, Report
from gates.release.unproven import only_proofs_are_missing
from gates.run.stability import stability_of
from gates.spec.project import Project
from gates.verify.verify import Verification

STYLE = {"PASS": "green", "FAIL": "bold red", "UNKNOWN": "yellow", "SKIP": "dim", "MISSING": "dim"}
JUNIT_TAGS = {"FAIL": "failure", "UNKNOWN": "error", "MISSING": "skipped", "SKIP": "skipped"}
HEADS = ("", "id", "gate", "measured", "s")
STABILITY_HEADS = ("", "id", "gate", "verdicts", "not PASS (95 %)", "s")
Rows: TypeAlias = list[tuple[str, ...]]
SHOWN_ROWS = 3
NOTHING_MEASURED = "nothing was measured, so no assertion could be judged"


def print_report(report: Report, directory: Path, console: Console) -> None:
    """Every gate that was run, the reason of each that is not PASS, invariants, and the verdict last.

    Where nothing but proofs is missing, that is said before all.
    """
    if only_proofs_are_missing(report):
        console.print(Text(f"all gates pass, but {report.reason}", style="bold yellow"))
    ran = [gate for gate in report.gates if gate.status not in ("MISSING", "SKIP")]
    for gate in ran:
        if gate.status != "PASS":
            _print_reasons(gate, console)
        for line in repetitions(gate):
            console.print(line, style="yellow", markup=False)
    if len({gate.name for gate in ran}) < len(ran):
        _print_rows(STABILITY_HEADS, _stability(ran), console)
    else:
        _print_rows(HEADS, _results(ran), console)
    _print_totals(report, console)
    if report.ledger.lines:
        console.print(ledger_line(report), markup=False)
    console.print(f"report: {directory / 'gate-report.json'}", markup=False)
    if (directory / "gate-report.html").exists():
        console.print(f"to read: {directory / 'gate-report.html'}", markup=False)
    style = "bold green" if report.verdict == "PROMOTE" else "bold red"
    console.print(Text(f"{report.version}: {report.verdict} ({report.reason})", style=style))
    console.print(f"exit code {report.exit_code}", markup=False)


def repetitions(gate: GateReport) -> list[str]:
    """What is said of a gate that was run again because the host was slow: a line for each attempt but the last."""
    most = len(gate.attempts)
    return [
        f"{gate.id} {gate.name}, attempt {one.attempt} of {most}: {one.status} ({one.detail})"
        for one in gate.attempts[:-1]
    ]


def ledger_line(report: Report) -> str:
    """Which ledger of attempts a release rests on, and since when."""
    which = report.ledger.named or "this machine only"
    earlier = counted(len(report.attempts), "earlier attempt")
    return f"attempts: {which}, since {report.ledger.since}; {earlier} at this source"


def commit_line(report: Report) -> str:
    """Which commit was run, if it can be told."""
    if report.commit is None:
        return "no commit: git knows nothing of these files"
    return f"commit {report.commit[:12]}" + (" with uncommitted changes" if report.dirty else "")


def _results(ran: Sequence[GateReport]) -> Rows:
    return [
        (gate.status, gate.id, gate.name, _measured(gate), f"{gate.duration_s:.1f}") for gate in ran
    ]


def _stability(ran: Sequence[GateReport]) -> Rows:
    """Of gates that were run several times: the worst verdict, how many of each, and how long they took."""
    return [
        (
            one.worst,
            one.id,
            one.name,
            one.told(),
            one.excluded,
            f"{one.shortest_s:.1f} to {one.longest_s:.1f}, median {one.median_s:.1f}",
        )
        for one in stability_of(ran)
    ]


def _print_rows(heads: tuple[str, ...], rows: Rows, console: Console) -> None:
    """A table whose first column is a status."""
    if not console.is_terminal:
        # In a log nothing has a width to fit into, and a line is not to be broken.
        all_rows = [heads, *rows]
        widths = [max(map(len, column)) for column in zip(*all_rows, strict=True)]
        for row in all_rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            console.out("  ".join(cells).rstrip(), highlight=False)
        return
    table = Table(*heads, box=None, pad_edge=False)
    for status, *rest in rows:
        table.add_row(Text(status, style=STYLE[status]), *rest)
    console.print(table)


def _print_totals(report: Report, console: Console) -> None:
    summary = report.summary
    console.print(
        f"floor {summary.floor_pass}/{summary.floor_total}, delta {summary.delta_pass}/{summary.delta_total}: "
        f"{summary.pass_} pass, {summary.fail} fail, {summary.unknown} unknown, {summary.skip} not run, "
        f"{summary.missing} missing of {summary.total}",
        markup=False,
    )
    for invariant in report.invariants:
        state = {True: "holds", False: "BROKEN", None: "not measured"}[invariant.holds]
        console.print(
            f"  {state:12} {invariant.id}: {invariant.statement} ({invariant.detail})", markup=False
        )


def _print_reasons(gate: GateReport, console: Console) -> None:
    """A line for each reason, then more of the rows by which a failure can be seen."""
    console.print(
        Text(f"{gate.status} {gate.id} {gate.name}: {gate.title}", style=STYLE[gate.status])
    )
    for reason, more in reasons_of(gate):
        console.print(f"  {reason}", markup=False, highlight=False)
        for row in more:
            console.print(f"    also: {row}", markup=False, highlight=False)
    console.print(f"  again: {gate.rerun}\n", markup=False)


def reasons_of(gate: GateReport) -> Iterator[tuple[str, list[str]]]:
    """Each reason of anything but PASS, with more of the rows by which it can be seen."""
    rows = {
        telling.line(own): [telling.pairs(row, own.looks_at) for row in own.rows[1:SHOWN_ROWS]]
        for own in gate.assertions
    }
    measured = any(own.population for own in gate.assertions)
    for reason in gate.reasons or [gate.detail]:
        # Where there was nothing to look at, that is said once and not once per assertion.
        if measured or reason not in rows:
            yield reason, rows.get(reason, [])
    if rows and not measured:
        yield NOTHING_MEASURED, []


def _measured(gate: GateReport) -> str:
    if gate.status == "PASS":
        rows = sum(assertion.population or 0 for assertion in gate.assertions)
        return f"{counted(len(gate.assertions), 'assertion')} over {counted(rows, 'row')}"
    red = Counter(one.status for one in gate.assertions if one.status != "PASS")
    if not red:
        return "the run itself"
    parts = ", ".join(f"{number} {status}" for status, number in sorted(red.items()))
    return f"{parts} of {counted(len(gate.assertions), 'assertion')}"


def counted(number: int, noun: str) -> str:
    """`1 gate`, `2 gates`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def counted_problems(problems: Sequence[Problem]) -> str:
    """`2 problems`, or `2 problems and 1 warning`."""
    errors = len(errors_among(problems))
    warnings = len(problems) - errors
    found = counted(errors, "problem")
    return f"{found} and {counted(warnings, 'warning')}" if warnings else found


def junit(report: Report) -> bytes:
    """One test case per gate: FAIL is a failure, UNKNOWN an error; what was not run is skipped, and says why."""
    summary = report.summary
    suite = ET.Element(
        "testsuite",
        name=xml_text(f"gates {report.version}"),
        tests=str(summary.total),
        failures=str(summary.fail),
        errors=str(summary.unknown),
        skipped=str(summary.skip + summary.missing),
        time=f"{report.elapsed_s:.3f}",
        timestamp=xml_text(report.timestamp),
    )
    for gate in report.gates:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=xml_text(f"gates.{gate.class_}"),
            name=xml_text(f"{gate.id} {gate.name}"),
            time=f"{gate.duration_s:.3f}",
        )
        tag = JUNIT_TAGS.get(gate.status)
        if tag is not None:
            problem = ET.SubElement(case, tag, message=xml_text(gate.detail))
            problem.text = xml_text("\n".join(gate.reasons or [gate.detail]))
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def print_proofs(proofs: Iterable[GateProof], project: Project, console: Console) -> None:
    """One line per gate, and why it is not proven where it is not."""
    for gate in proofs:
        state = (
            Text("proven  ", style="green") if gate.proven else Text("UNPROVEN", style="bold red")
        )
        killers = sum(proof.proven is True for proof in gate.proofs)
        line = f" {project.gates[gate.gate].id} {gate.gate}: {killers} of {len(gate.proofs)} defects and shams"
        console.print(Text.assemble(state, line))
        for proof in gate.proofs:
            if not proof.proven:
                why = proof.why or "not tried"
                console.print(f"         {proof.name}: {why}", markup=False)
        if gate.why is not None and all(proof.proven for proof in gate.proofs):
            console.print(f"         {gate.why}", markup=False)


def print_verification(found: Verification, console: Console) -> None:
    """Every flaw, the verdict, its digests, and what it comes to."""
    for flaw in found.flaws:
        console.print(f"{flaw.path}: {flaw.problem}", style="bold red", markup=False)
    console.print(f"{found.release}: {found.verdict} ({found.reason})", markup=False)
    console.print(f"manifest {found.manifest_sha256}", markup=False)
    if found.ledger_head:
        console.print(f"ledger   {found.ledger_head}", markup=False)
    console.print(found.summary, style="bold red" if found.flaws else "bold", markup=False)

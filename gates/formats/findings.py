"""What keeps a release from being promoted, one finding each: what annotations and SARIF are made of."""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from gates.judge import telling
from gates.release.report import AssertionReport, GateReport, InvariantReport, Report, Status

Severity = Literal["error", "warning"]
BESIDE: Final = "release"
"""The rule of what lies in no gate and no invariant."""


class Finding(Struct, frozen=True, kw_only=True):
    """One reason. `gate` and `that` say where it is written; `rule` names it for ever."""

    rule: str
    severity: Severity
    title: str
    message: str
    gate: str | None = None
    that: str | None = None


def findings(report: Report) -> list[Finding]:
    """All reasons, gate by gate in the order of the release, then what lies beside them, then the invariants.

    A failure is an error, what was not measured a warning: it holds the release as much, but says nothing
    about the system. Gates that were not part of the run give none.
    """
    found = [finding for gate in report.gates for finding in _of_gate(gate)]
    found += [
        Finding(rule=BESIDE, severity="warning", title=report.version, message=reason)
        for reason in report.beside
    ]
    return [*found, *_of_invariants(report.invariants)]


def _of_gate(gate: GateReport) -> Iterator[Finding]:
    if gate.status in ("FAIL", "UNKNOWN", "MISSING"):
        red = {telling.line(own): own for own in gate.assertions if own.status != "PASS"}
        failed = any(own.status == "FAIL" for own in red.values())
        # What is wrong with the run itself stands in no assertion.
        reasons = [] if failed and gate.status == "FAIL" else gate.reasons or [gate.detail]
        beside = [reason for reason in reasons if reason not in red]
        for reason in beside:
            yield _finding(gate, gate.status, reason)
        if not beside or gate.status == "FAIL" or len(red) < len(gate.assertions):
            yield from (_of_assertion(gate, own) for own in red.values())
    if gate.proven is False:
        yield _finding(gate, "UNKNOWN", f"unproven: {gate.unproven}")


def _of_assertion(gate: GateReport, own: AssertionReport) -> Finding:
    message = f"{own.status}: {telling.line(own)}\nagain: {gate.rerun}"
    return _finding(gate, own.status, message, own.that)


def _finding(gate: GateReport, status: Status, message: str, that: str | None = None) -> Finding:
    return Finding(
        rule=gate.id,
        severity="error" if status == "FAIL" else "warning",
        title=f"{gate.id} {gate.name}",
        message=message,
        gate=gate.name,
        that=that,
    )


def _of_invariants(invariants: Sequence[InvariantReport]) -> Iterator[Finding]:
    for invariant in invariants:
        if invariant.holds is not True:
            state = "does not hold" if invariant.holds is False else "was not measured"
            yield Finding(
                rule=f"invariant/{invariant.id}",
                severity="error" if invariant.holds is False else "warning",
                title=f"invariant {invariant.id} {state}",
                message=f"{invariant.statement}: {invariant.detail}",
            )

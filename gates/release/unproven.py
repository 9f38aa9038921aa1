"""What a release lacks of proofs: which trials were not made, what makes them and how long that takes."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from gates.release.report import GateReport, MissingProofs, Report

AROUND_S: Final = 1.0
"""What a trial takes besides the gate's own run: a copy of the source, and a verdict."""
MOST_NAMES: Final = 7


def missing_proofs(
    gates: Sequence[GateReport], alone: Collection[str], command: str, workers: int
) -> MissingProofs | None:
    """The trials that gates which were run still need, None when there are none.

    `alone` are the names of gates that nothing runs beside.
    """
    lacking = [gate for gate in _ran(gates) if gate.missing_trials]
    if not lacking:
        return None
    about_s = sum(
        gate.missing_trials * (gate.duration_s + AROUND_S) / (1 if gate.name in alone else workers)
        for gate in lacking
    )
    return MissingProofs(
        gates=[_named(gate) for gate in lacking],
        trials=sum(gate.missing_trials for gate in lacking),
        command=command,
        about_s=round(about_s, 1),
    )


def unproven_of(gates: Sequence[GateReport], missing: MissingProofs | None) -> Iterator[str]:
    """The reasons to hold that lie in gates that were run and not shown to be able to fail."""
    disproven = [gate for gate in _ran(gates) if gate.proven is False]
    if disproven:
        yield f"not proven: {', '.join(map(_named, disproven))}"
    if missing is not None:
        yield advice(missing)


def advice(missing: MissingProofs) -> str:
    """What is missing, and what to do about it."""
    return (
        f"proofs are missing of {_listed(missing.gates)}: `{missing.command}` makes them"
        f" in about {roughly(missing.about_s)}, then run this again"
    )


def only_proofs_are_missing(report: Report) -> bool:
    """Whether a release holds for no other reason than that proofs of it are missing."""
    missing = report.missing_proofs
    return missing is not None and report.reason == advice(missing)


def held_beside(report: Report) -> list[str]:
    """The reasons to hold that lie in no single gate: those of the report, invariants, and proofs that are missing."""
    states = {False: "does not hold", None: "was not measured"}
    open_ = [one for one in report.invariants if one.holds is not True]
    found = [*report.beside]
    found += [f"invariant {one.id} {states[one.holds]}: {one.detail}" for one in open_]
    return found + ([advice(report.missing_proofs)] if report.missing_proofs is not None else [])


def _ran(gates: Sequence[GateReport]) -> list[GateReport]:
    return [gate for gate in gates if gate.status not in ("MISSING", "SKIP")]


def _named(gate: GateReport) -> str:
    return f"{gate.id} {gate.name}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} gates"


def roughly(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h`: to be believed to a third."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.0f} h"

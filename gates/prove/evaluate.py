"""Whether runs of defects and shams prove that a gate can fail. Pure: it sees verdicts and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from gates.judge.assertions import FIRST
from gates.judge.result import GateVerdict
from gates.spec.gate import Defect

Kind = Literal["control", "defect", "sham"]
SHAM = "sham"
RACING_SEEDS = 5
# What a defect may do to a run besides turning assertions red: an expectation of a step fails, later ones
# are skipped. Anything else means that the run shows nothing.
ALLOWED_FINDINGS = frozenset({"step", "exit"})


class Trial(Struct, frozen=True, kw_only=True):
    """One run of a proof. `executed` says whether an edited line was reached; None where there is no edit."""

    gate: str
    kind: Kind
    defect: str | None
    seed: int
    run_id: str
    diff: str
    executed: bool | None


class Proof(Struct, frozen=True, kw_only=True):
    """What one defect, or the sham, came to: `red` are the assertions that failed, `why` what is wrong with it.

    `proven` is None where it was not tried: some trials are `missing`, so many must still be made, or it is stale.
    """

    name: str
    proven: bool | None
    missing: int
    red: list[str]
    measured: dict[str, str]
    diff: str
    why: str | None


class GateProof(Struct, frozen=True, kw_only=True):
    """Whether a gate is proven able to fail, and by what each of its assertions is killed.

    `proven` is None where nothing is wrong but that some trials are `missing`: so many must still be made.
    """

    gate: str
    proven: bool | None
    missing: int
    why: str | None
    killed_by: dict[str, list[str]]
    proofs: list[Proof]


class Proofs(Struct, frozen=True, kw_only=True):
    """`proofs.json`: what was tried. The evidence of every trial lies beside it, and decides what it came to.

    `stale` says by gate and defect why it could not be tried any more.
    """

    session: str
    trials: list[Trial]
    stale: dict[str, dict[str, str]]


def evaluate(
    gate: str,
    assertions: Sequence[str],
    by_sham: Sequence[str],
    defects: Sequence[Defect],
    trials: Sequence[tuple[Trial, GateVerdict]],
    *,
    needs_sham: bool,
    stale: Mapping[str, str],
) -> GateProof:
    """The proof of one gate from all of its trials.

    `by_sham` are the assertions that are said to be killed by the sham, `needs_sham` whether the gate has
    faults at all, `stale` why some defects could not be tried.
    """
    proofs = [_defect_proof(defect, assertions, trials, stale) for defect in defects]
    if needs_sham:
        proofs.append(_sham_proof(by_sham, trials))
    missing, failing = _controls(trials, max(map(_seeds, defects), default=1))
    missing += sum(proof.missing for proof in proofs)
    killed_by = {
        name: [proof.name for proof in proofs if proof.proven and name in proof.red]
        for name in assertions
    }
    wrong = [
        f"{proof.name}: {proof.why}"
        for proof in proofs
        if proof.proven is False or proof.name in stale
    ]
    wrong += [failing] if failing else []
    untried = {proof.name for proof in proofs if proof.missing}
    hoped = {name for defect in defects if defect.defect in untried for name in defect.fails}
    hoped |= set(by_sham) if SHAM in untried else set()
    wrong += [
        f"nothing kills {name!r}"
        for name, killers in killed_by.items()
        if not killers and name not in hoped
    ]
    lacking = [f"{missing} of its trials are missing"] if missing else []
    return GateProof(
        gate=gate,
        proven=False if wrong else None if missing else True,
        missing=missing,
        why="; ".join([*wrong, *lacking]) or None,
        killed_by=killed_by,
        proofs=proofs,
    )


def _seeds(defect: Defect) -> int:
    """With how many seeds a defect must be seen: timing that was lucky once shows nothing."""
    return RACING_SEEDS if defect.racing else 1


def _controls(trials: Sequence[tuple[Trial, GateVerdict]], wanted: int) -> tuple[int, str | None]:
    """(how many runs without a defect are missing, what is wrong with those that were made)."""
    controls = [(trial.seed, verdict) for trial, verdict in trials if trial.kind == "control"]
    failed = [verdict for _, verdict in controls if verdict.status != "PASS"]
    why = f"the copy without a defect is {failed[0].status}: {failed[0].detail}" if failed else None
    return max(0, wanted - len({seed for seed, _ in controls})), why


def _defect_proof(
    defect: Defect,
    assertions: Sequence[str],
    trials: Sequence[tuple[Trial, GateVerdict]],
    stale: Mapping[str, str],
) -> Proof:
    if defect.defect in stale:
        untried = _proof(defect.defect, None, [], 0)
        return msgspec.structs.replace(untried, proven=None, why=stale[defect.defect])
    mine = [
        (trial, verdict)
        for trial, verdict in trials
        if trial.kind == "defect" and trial.defect == defect.defect
    ]
    reasons = [
        reason
        for trial, verdict in mine
        for reason in _defect_reasons(defect, assertions, trial, verdict)
    ]
    missing = max(0, _seeds(defect) - len({trial.seed for trial, _ in mine}))
    return _proof(defect.defect, mine[0] if mine else None, reasons, missing)


def _proof(
    name: str, first: tuple[Trial, GateVerdict] | None, reasons: Sequence[str], missing: int
) -> Proof:
    return Proof(
        name=name,
        proven=False if reasons else None if missing else True,
        missing=missing,
        red=_red(first[1]) if first is not None else [],
        measured=_found(first[1]) if first is not None else {},
        diff=first[0].diff if first is not None else "",
        why="; ".join(dict.fromkeys(reasons))
        or (f"{missing} runs are missing" if missing else None),
    )


def _defect_reasons(
    defect: Defect, assertions: Sequence[str], trial: Trial, verdict: GateVerdict
) -> list[str]:
    nothing = nothing_shown(verdict)
    if nothing is not None:
        return [nothing]
    reasons = []
    if not trial.executed:
        reasons.append("no edited line was executed")
    statuses = _statuses(verdict)
    for name in assertions:
        status = statuses.get(name, "UNKNOWN")
        if name in defect.fails and status != "FAIL":
            reasons.append(f"{name!r} is {status}, not FAIL")
        elif name not in defect.fails and name not in defect.may_fail and status != "PASS":
            reasons.append(f"{name!r} is {status}, and should be untouched")
    return reasons


def _sham_proof(by_sham: Sequence[str], trials: Sequence[tuple[Trial, GateVerdict]]) -> Proof:
    mine = [(trial, verdict) for trial, verdict in trials if trial.kind == "sham"]
    reasons: list[str] = []
    for _, verdict in mine:
        nothing = nothing_shown(verdict)
        red = _red(verdict)
        if nothing is not None:
            reasons.append(nothing)
            continue
        if not red:
            reasons.append("no assertion failed, so the gate does not need its faults")
        reasons += [f"{name!r} did not fail" for name in by_sham if name not in red]
    return _proof(SHAM, mine[0] if mine else None, reasons, 0 if mine else 1)


def nothing_shown(verdict: GateVerdict) -> str | None:
    """Why the run shows nothing at all, if so: whatever its assertions came to then is no proof."""
    if verdict.run_id is None:
        return verdict.detail or "there is no such run"
    for finding in verdict.findings:
        if finding.source not in ALLOWED_FINDINGS and finding.source != "fault":
            return f"the run shows nothing: {finding.source}: {finding.message}"
    for fault in verdict.faults:
        if not fault.proven and verdict.mode != SHAM:
            return f"the run shows nothing: fault {fault.fault}: {fault.why}"
    return None


def is_by_host(verdict: GateVerdict) -> bool:
    """Whether the host was too slow for something to be measured, whatever else was."""
    causes = [one.cause for one in verdict.findings if one.status == "UNKNOWN"]
    causes += [one.cause for one in verdict.assertions if one.status == "UNKNOWN"]
    return "host" in causes


def _statuses(verdict: GateVerdict) -> Mapping[str, str]:
    return {result.that: result.status for result in verdict.assertions}


def _red(verdict: GateVerdict) -> list[str]:
    return [result.that for result in verdict.assertions if result.status == "FAIL"]


def _found(verdict: GateVerdict) -> dict[str, str]:
    """What was found of each assertion that failed, in words."""
    return {
        result.that: result.why.partition(FIRST)[0]
        for result in verdict.assertions
        if result.status == "FAIL"
    }

"""A release in stages, computed from nothing but the files in its directory.

They are `session.json`, `conclusion.json`, `attempts.jsonl`, `specs/`, `evidence/` and, where proofs were run,
`proofs/`. `STAGES` is the order in which a release comes about; each stage is the function of that name and adds what
it finds to the work.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from chaos.evidence.schema import Step
from gates.judge.abreast import abreast
from gates.judge.connection import Evidence, open_release
from gates.judge.integrity import release_problems, unusable
from gates.release import ledger, proofs, waivers
from gates.release.entries import entries_of, reports_of, with_proof
from gates.release.history import NOTHING, History, Reported, history_of
from gates.release.manifest import raise_irregular
from gates.release.own_runs import strangers
from gates.release.report import (
    NO_GATE,
    SCHEMA_VERSION,
    SOME_GATES,
    GateReport,
    InvariantReport,
    MissingProofs,
    Report,
    decide,
    flaky_reason,
    invariants_of,
    ledger_limit,
    summarise,
    timestamp_of,
)
from gates.release.stored import read, session_of
from gates.release.unproven import missing_proofs, unproven_of
from gates.run.session import Session, collected_of, exercise_name
from gates.spec.release import Release

CONTRACT_STEP: Final = "contract"


class Conclusion(Struct, frozen=True, kw_only=True):
    """What is known only when a session ends: how long it took, whether its inputs are still the same, what
    came before it, how each gate is run again, what makes its proofs, and where the release was put.
    """

    elapsed_s: float
    interrupted: bool
    inputs_after: dict[str, str]
    discontinued: str | None
    reported: list[Reported]
    reruns: dict[str, str]
    prove: str
    place: str
    existing: list[str]


class Work(Struct, kw_only=True):
    """A release while it comes about: what its directory holds, and what the stages have found so far.

    `decides` says whether the run may decide a release at all; one that may not has neither history nor missing proofs.
    """

    directory: Path
    session: Session
    conclusion: Conclusion
    shipped: proofs.Shipped
    evidence: Evidence
    proof_evidence: Evidence | None
    release: Release
    decides: bool
    gates: list[GateReport] = []
    problems: list[str] = []
    invariants: list[InvariantReport] = []
    history: History = NOTHING
    missing: MissingProofs | None = None
    beside: list[str] = []
    decision: tuple[Literal["PROMOTE", "HOLD"], int, str] = ("HOLD", 2, "nothing was decided")


class Judgement(Struct, frozen=True):
    """What a release directory comes to: its report, and what that was computed from."""

    report: Report
    evidence: Evidence
    proof_evidence: Evidence | None
    shipped: proofs.Shipped


def judge_directory(directory: Path) -> Judgement:
    """What a release comes to, from nothing but what is in its directory."""
    work = read_all(directory)
    for stage in STAGES:
        stage(work)
    return Judgement(report(work), work.evidence, work.proof_evidence, work.shipped)


def read_all(directory: Path) -> Work:
    """Open everything that the stages work with; HarnessError when it cannot be read."""
    raise_irregular(directory)
    session = session_of(directory)
    shipped = proofs.shipped_in(directory, session)
    named = shipped.specs.release
    return Work(
        directory=directory,
        session=session,
        conclusion=read(directory / "conclusion.json", Conclusion),
        shipped=shipped,
        evidence=open_release(directory / "evidence", collected_of(shipped.specs.targets)),
        proof_evidence=proofs.opened(directory, shipped),
        release=named or _no_release(),
        decides=session.decides and named is not None,
    )


def judge(work: Work) -> None:
    """The verdict of each gate that was run, by its evidence alone."""
    specs, session = work.shipped.specs, work.session

    def made(evidence: Evidence, name: str) -> list[GateReport]:
        rerun = work.conclusion.reruns[name]
        return [*reports_of(evidence, specs.judged[name], specs.gates[name], session, rerun)]

    names = sorted(specs.judged, key=session.gates.index)
    work.gates = [gate for found in abreast(work.evidence, names, made) for gate in found]


def enter_proofs(work: Work) -> None:
    """What proofs say of each gate, and the gates of the release that were not run."""
    proven = proofs.proofs_again(work.directory, work.proof_evidence, work.shipped)
    work.gates = [with_proof(gate, proven[gate.name]) for gate in work.gates]
    if work.session.options.repeat == 1:
        work.gates = entries_of(work.release, work.gates, work.conclusion.existing)


def check_inputs(work: Work) -> None:
    """Whether all runs had the same inputs, and are those of this session and its proofs."""
    work.problems = [
        *release_problems(work.evidence, work.session.digests),
        *strangers(
            work.evidence, work.session, work.shipped.specs, proofs.trials_in(work.directory)
        ),
        *_changed_inputs(work.session, work.conclusion),
    ]


def check_invariants(work: Work) -> None:
    """What must hold of the release as a whole."""
    if work.release.invariants:
        work.invariants = invariants_of(
            work.release,
            work.gates,
            uncommitted=_uncommitted(work.session),
            same_inputs="; ".join(work.problems) or None,
            contract=_contract(work.evidence, work.release),
        )


def look_back(work: Work) -> None:
    """What earlier attempts at the same inputs mean for this one."""
    if work.decides:
        work.history = history_of(
            work.directory / ledger.FILE,
            work.conclusion.discontinued,
            work.conclusion.reported,
            work.session,
            work.shipped.specs.gates,
            work.gates,
        )


def find_missing_proofs(work: Work) -> None:
    """Which proofs a release lacks, and what makes them."""
    if work.decides:
        work.missing = missing_proofs(
            work.gates,
            {name for name, gate in work.shipped.specs.gates.items() if gate.ever_alone},
            work.conclusion.prove,
            work.session.options.workers,
        )


def reach_verdict(work: Work) -> None:
    """PROMOTE or HOLD, and why."""
    named = work.shipped.specs.release is not None
    partial = not work.session.decides or work.conclusion.interrupted
    beside = [
        *_unguarded(work.release, work.problems, dirty=work.session.dirty and named),
        *(work.history.problems if named else []),
    ]
    why = _decides_nothing(work.session)
    work.decision = decide(
        work.gates,
        work.invariants,
        work.history.past.flaky,
        partial=partial,
        unknown=[*beside, *(unproven_of(work.gates, work.missing) if named else [])],
        why=why,
    )
    flaky = work.history.past.flaky
    work.beside = [
        *(["it was interrupted"] if work.conclusion.interrupted else []),
        *([NO_GATE] if not work.gates else []),
        *([flaky_reason(flaky)] if flaky else []),
        *([why] if partial and not work.conclusion.interrupted else []),
        *beside,
    ]


def _decides_nothing(session: Session) -> str:
    """Why a run that is not one of all gates, once, against the system as it is, decides no release."""
    if session.mode != "healthy":
        return "this run was not of the system as it is, so it decides no release"
    if session.options.repeat > 1:
        return f"each gate was run {session.options.repeat} times, so this run decides no release"
    return SOME_GATES


def _uncommitted(session: Session) -> str | None:
    """What was run that no commit says, if anything."""
    if session.commit is None:
        return "there is no commit: git knows nothing of these files"
    return "uncommitted changes" if session.dirty else None


STAGES: Final[tuple[Callable[[Work], None], ...]] = (
    judge,
    enter_proofs,
    check_inputs,
    check_invariants,
    look_back,
    find_missing_proofs,
    reach_verdict,
)


def report(work: Work) -> Report:
    """What all of it comes to, as it is written."""
    session, conclusion, release = work.session, work.conclusion, work.release
    verdict, exit_code, reason = work.decision
    return Report(
        schema_version=SCHEMA_VERSION,
        version=session.version_of(release.release),
        verdict=verdict,
        reason=f"interrupted; {reason}" if conclusion.interrupted else reason,
        exit_code=exit_code,
        partial=not session.options.full,
        timestamp=timestamp_of(session.started_at_ms),
        elapsed_s=round(conclusion.elapsed_s, 1),
        summary=summarise(work.gates),
        invariants=work.invariants,
        gates=work.gates,
        session=session.id,
        commit=session.commit,
        dirty=session.dirty,
        seed=session.options.seed,
        workers=session.options.workers,
        inputs=session.digests,
        versions=session.versions,
        toxiproxy=session.toxiproxy,
        contract_version=release.contract_version,
        attempts=work.history.attempts,
        limits=[*release.limits, *_limits(work)],
        ledger=work.history.ledger,
        waivers=waivers.read(
            work.directory, release.release, release.waiver_keys, session.started_at_ms
        ),
        reasons=release.reasons,
        beside=work.beside,
        place=conclusion.place,
        missing_proofs=work.missing,
    )


def _limits(work: Work) -> Iterator[str]:
    """What this release cannot show, besides what none can."""
    if work.decides and work.history.ledger.named is None:
        yield ledger_limit(work.history.ledger)


def _changed_inputs(session: Session, conclusion: Conclusion) -> list[str]:
    changed = [
        name
        for name, digest in session.digests.items()
        if conclusion.inputs_after.get(name) != digest
    ]
    return [f"{name} changed while the gates ran" for name in changed]


def _unguarded(release: Release, problems: list[str], *, dirty: bool) -> Iterator[str]:
    """What holds any release, where none of its invariants says so."""
    checked = {invariant.check for invariant in release.invariants}
    if "same-digests" not in checked:
        yield from problems
    if dirty and "clean-source" not in checked:
        yield "what was run is not committed"


def _contract(evidence: Evidence, release: Release) -> tuple[bool | None, str]:
    """Decided by the step of that name in the link check of the release's target."""
    runs = evidence.runs_of(exercise_name(release.target))
    doubts = [text for record in runs for text in unusable(evidence, record)]
    if doubts:
        return None, f"the live API cannot be said to have been compared: {doubts[0]}"
    steps = [
        step
        for record in runs
        for step in evidence.rows(Step, record.key)
        if step.name == CONTRACT_STEP
    ]
    if len(steps) != 1:
        return None, "the live API was not compared with the contract"
    if steps[0].outcome == "ok":
        return True, f"nothing that {release.contract_version} promises is broken"
    return (False if steps[0].outcome == "failed" else None), steps[0].detail or steps[0].outcome


def _no_release() -> Release:
    return Release(
        release="unreleased",
        title="",
        contract_version="",
        contract="",
        target="",
        floor=0,
        delta=0,
        epics=[],
        config={},
        source=[],
        gates=[],
        invariants=[],
        limits=[],
    )

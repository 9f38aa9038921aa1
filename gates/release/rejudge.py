"""What a release comes to, computed from nothing but the files in its directory.

They are `session.json`, `conclusion.json`, `attempts.jsonl`, `specs/`, `evidence/` and, where
proofs were run, `proofs/`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from chaos.errors import HarnessError
from chaos.evidence.schema import Step
from gates.judge.connection import Evidence, open_release
from gates.judge.integrity import release_problems, unusable
from gates.release import ledger, proofs, waivers
from gates.release.entries import entries_of, reports_of, with_proof
from gates.release.history import NOTHING, Reported, history_of
from gates.release.own_runs import strangers
from gates.release.report import (
    SCHEMA_VERSION,
    GateReport,
    Report,
    decide,
    invariants_of,
    summarise,
    timestamp_of,
    yaml_name,
)
from gates.release.unproven import missing_proofs, unproven_of
from gates.run.session import Session, collected_of, exercise_name
from gates.spec.release import Release

S = TypeVar("S", bound=Struct)
CONTRACT_STEP = "contract"


class Conclusion(Struct, frozen=True, kw_only=True):
    """What is known only when a session ends: how long it took, whether its inputs are still the same, what
    came before it, how each gate is run again, and what makes its proofs.
    """

    elapsed_s: float
    interrupted: bool
    inputs_after: dict[str, str]
    discontinued: str | None
    reported: list[Reported]
    reruns: dict[str, str]
    prove: str
    existing: list[str]


class Judgement(Struct, frozen=True):
    """What a release directory comes to: its report, and what that was computed from."""

    report: Report
    evidence: Evidence
    shipped: proofs.Shipped


def rejudge(directory: Path) -> tuple[Judgement, list[str]]:
    """All of a release computed again, and in what its report differs from the one that is there."""
    again = judge_directory(directory)
    return again, list(_differences(stored_report(directory), again.report))


def stored_report(directory: Path) -> Report:
    """`gate-report.json` of a release; HarnessError when there is none that can be read."""
    return _read(directory / "gate-report.json", Report)


def session_of(directory: Path) -> Session:
    """`session.json` of a release; HarnessError when there is none that can be read."""
    return _read(directory / "session.json", Session)


def judge_directory(directory: Path) -> Judgement:
    """What a release comes to, from nothing but what is in its directory."""
    session = session_of(directory)
    conclusion = _read(directory / "conclusion.json", Conclusion)
    shipped = proofs.shipped_in(directory, session)
    specs, judged, named = shipped.specs, shipped.specs.judged, shipped.specs.release
    release = named or _no_release()
    evidence = open_release(directory / "evidence", collected_of(specs.targets))
    proven = proofs.proofs_again(directory, shipped)
    gates = [
        with_proof(report, proven[name])
        for name in sorted(judged, key=session.gates.index)
        for report in reports_of(
            evidence, judged[name], specs.gates[name], session, conclusion.reruns[name]
        )
    ]
    entries = (
        entries_of(release, gates, conclusion.existing) if session.options.repeat == 1 else gates
    )
    problems = [
        *release_problems(evidence, session.digests),
        *strangers(evidence, session, specs, proofs.trials_in(directory)),
        *_changed_inputs(session, conclusion),
    ]
    invariants = (
        invariants_of(
            release,
            entries,
            dirty=session.dirty,
            same_inputs="; ".join(problems) or None,
            contract=_contract(evidence, release),
        )
        if release.invariants
        else []
    )
    history = (
        history_of(
            directory / ledger.FILE,
            conclusion.discontinued,
            conclusion.reported,
            session,
            specs.gates,
            entries,
        )
        if session.decides and named is not None
        else NOTHING
    )
    missing = (
        missing_proofs(
            entries,
            {name for name, gate in specs.gates.items() if gate.exclusive},
            conclusion.prove,
            session.options.workers,
        )
        if session.decides and named is not None
        else None
    )
    verdict, exit_code, reason = decide(
        entries,
        invariants,
        history.past.flaky,
        partial=not session.decides or conclusion.interrupted,
        unknown=[
            *_unguarded(release, problems, dirty=session.dirty and named is not None),
            *([*history.problems, *unproven_of(entries, missing)] if named is not None else []),
        ],
    )
    report = Report(
        schema_version=SCHEMA_VERSION,
        version=session.version_of(release.release),
        verdict=verdict,
        reason=f"interrupted; {reason}" if conclusion.interrupted else reason,
        exit_code=exit_code,
        partial=not session.options.full,
        timestamp=timestamp_of(session.started_at_ms),
        elapsed_s=round(conclusion.elapsed_s, 1),
        summary=summarise(entries),
        invariants=invariants,
        gates=entries,
        session=session.id,
        commit=session.commit,
        dirty=session.dirty,
        seed=session.options.seed,
        workers=session.options.workers,
        inputs=session.digests,
        versions=session.versions,
        toxiproxy=session.toxiproxy,
        contract_version=release.contract_version,
        attempts=history.attempts,
        limits=release.limits,
        ledger=history.ledger,
        waivers=waivers.read(
            directory, release.release, release.waiver_keys, session.started_at_ms
        ),
        missing_proofs=missing,
    )
    return Judgement(report, evidence, shipped)


def _changed_inputs(session: Session, conclusion: Conclusion) -> list[str]:
    changed = [
        name
        for name, digest in session.digests.items()
        if conclusion.inputs_after.get(name) != digest
    ]
    return [f"{name} changed while the gates ran" for name in changed]


def _unguarded(release: Release, problems: Sequence[str], *, dirty: bool) -> Iterator[str]:
    """What holds any release, where none of its invariants says so."""
    checked = {invariant.check for invariant in release.invariants}
    if "same-digests" not in checked:
        yield from problems
    if dirty and "clean-source" not in checked:
        yield "what was run is not committed"


def _contract(evidence: Evidence, release: Release) -> tuple[bool | None, str]:
    """Decided by the step of that name in the exercise of the release's target."""
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


def _differences(stored: Report, again: Report) -> Iterator[str]:
    for field in Report.__struct_fields__:
        if field == "gates":
            yield from _gate_differences(stored.gates, again.gates)
        else:
            parts = (msgspec.to_builtins(getattr(report, field)) for report in (stored, again))
            yield from _part_differences(field, *parts)


def _part_differences(where: str, before: object, after: object) -> Iterator[str]:
    """Only what differs inside of mappings and lists; an element of a list is named by its `id` where it has one."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key, value in after.items():
            yield from _part_differences(f"{where}.{key}", before[key], value)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            name = other.get("id", index) if isinstance(other, dict) else index
            yield from _part_differences(f"{where}.{name}", one, other)
    elif before != after:
        yield f"{where} is {after!r}, the report says {before!r}"


def _gate_differences(stored: Sequence[GateReport], again: Sequence[GateReport]) -> Iterator[str]:
    names = [[gate.name for gate in gates] for gates in (stored, again)]
    if names[0] != names[1]:
        yield f"the gates are {', '.join(names[1])}, the report has {', '.join(names[0])}"
        return
    for before, after in zip(stored, again, strict=True):
        differing = [
            field
            for field in GateReport.__struct_fields__
            if msgspec.json.encode(getattr(before, field))
            != msgspec.json.encode(getattr(after, field))
        ]
        if "status" in differing:
            yield (
                f"{after.id} {after.name} is {after.status} ({after.detail}),"
                f" the report says {before.status}"
            )
        elif "unproven" in differing:
            yield f"{after.id} {after.name} is {_state(after)}, the report says {_state(before)}"
        elif differing:
            what = ", ".join(map(yaml_name, differing))
            yield f"{after.id} {after.name}: the report says something else of {what}"


def _state(gate: GateReport) -> str:
    return "proven" if gate.proven else f"unproven: {gate.unproven}"


def _read(path: Path, kind: type[S]) -> S:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise HarnessError(f"cannot read {path}: {error}") from error

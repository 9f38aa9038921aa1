"""From the evidence of a session to its report, and to the release directory.

Everything that the report says is computed from files that are shipped beside it, so that `judge` can
compute it again: `session.json`, `release.json`, `conclusion.json`, `judged/` and `evidence/`.
"""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from chaos.errors import HarnessError
from chaos.evidence.schema import Step
from chaos.evidence.sealing import seal
from gates import ledger, render
from gates.html import changes, page
from gates.judge.connection import Evidence, RunRecord, open_release
from gates.judge.integrity import release_problems
from gates.judge.result import GateVerdict
from gates.judge.tables import stored
from gates.judge.verdict import judge_gate
from gates.judged import canonical
from gates.project import Project
from gates.quick import FAULT_PROOFS
from gates.report import (
    SCHEMA_VERSION,
    AssertionReport,
    AttemptReport,
    DefectReport,
    FaultReport,
    GateReport,
    Report,
    absent,
    decide,
    invariants_of,
    rerun_command,
    summarise,
    timestamp_of,
)
from gates.session import Session, collected_of, digests_now, exercise_name, judged_in, project_of
from gates.spec.assertion import Judged
from gates.spec.gate import Defect
from gates.spec.release import ListedGate, Release

S = TypeVar("S", bound=Struct)
CONTRACT_STEP = "contract"


class Card(Struct, frozen=True, kw_only=True):
    """What the report says of a gate besides its verdict."""

    id: str
    gate: str
    class_: str
    epic: str
    severity: str
    title: str
    target: str
    defects: list[DefectReport]
    rerun: str


class MaybeRelease(Struct, frozen=True):
    """The release that the gates decide; specs without a `release.yaml` decide none."""

    release: Release | None


class Conclusion(Struct, frozen=True, kw_only=True):
    """What is known only when a session ends: how long it took, and whether its inputs are still the same."""

    elapsed_s: float
    interrupted: bool
    inputs_after: dict[str, str]
    attempts: list[AttemptReport]
    flaky_before: list[str]
    cards: list[Card]
    existing: list[str]


def conclude(session: Session, releases: Path, *, interrupted: bool) -> tuple[Report, Path]:
    """Seal, judge and report; a full run replaces the release directory in one step."""
    project = project_of(session.options.specs)
    decides = session.options.full and not interrupted and project.release is not None
    version = project.release.release if project.release is not None else "unreleased"
    staged = releases / f".{version}.{session.id}" if decides else session.path / "release"
    staged.mkdir(parents=True)
    runs = sorted(path for path in (session.path / "gates").glob("*/*") if path.is_dir())
    seal(runs, staged / "evidence", collected_of(project))
    shutil.copytree(session.path / "judged", staged / "judged")
    for run in runs:
        if (run / "output").is_dir():
            shutil.copytree(run / "output", staged / "output" / run.parent.name / run.name)
    _write(staged / "session.json", session)
    (staged / "release.json").write_bytes(
        msgspec.json.format(canonical(MaybeRelease(release=project.release)))
    )
    _write(
        staged / "conclusion.json", _conclusion(session, project, releases, interrupted=interrupted)
    )
    report = judge_directory(staged)
    write_report(staged, report, changes.last_report(releases, report))
    if not decides:
        return report, staged
    statuses = {gate.name: gate.status for gate in report.gates}
    ledger.append(
        releases, ledger.Outcome(session=session.id, verdict=report.verdict, statuses=statuses)
    )
    return report, _put_in_place(staged, releases / version)


def rejudge(directory: Path) -> tuple[Report, list[str]]:
    """The report computed again, and in what it differs from the one that is there."""
    again = judge_directory(directory)
    return again, list(_differences(stored_report(directory), again))


def stored_report(directory: Path) -> Report:
    """`gate-report.json` of a release; HarnessError when there is none that can be read."""
    return _read(directory / "gate-report.json", Report)


def judge_directory(directory: Path) -> Report:
    """The report of a release directory, from nothing but what is in it."""
    session = _read(directory / "session.json", Session)
    conclusion = _read(directory / "conclusion.json", Conclusion)
    release = _read(directory / "release.json", MaybeRelease).release or _no_release()
    judged = judged_in(directory)
    evidence = open_release(directory / "evidence", _collected(judged))
    gates = [
        report
        for name in sorted(judged, key=session.gates.index)
        for report in _reports_of(evidence, judged[name], session, conclusion)
    ]
    entries = _entries(release, gates, conclusion) if session.options.repeat == 1 else gates
    problems = release_problems(evidence, session.digests) + _changed_inputs(session, conclusion)
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
    statuses = {gate.name: gate.status for gate in entries}
    flaky = [name for name in conclusion.flaky_before if statuses.get(name) == "PASS"]
    verdict, exit_code, reason = decide(
        entries, invariants, flaky, partial=not session.options.full or conclusion.interrupted
    )
    return Report(
        schema_version=SCHEMA_VERSION,
        version=release.release,
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
        attempts=conclusion.attempts,
        limits=release.limits,
    )


def write_report(directory: Path, report: Report, base: Report | None = None) -> None:
    """`gate-report.json`, and what is rendered from it; the page shows what changed since `base`."""
    _write(directory / "gate-report.json", report)
    (directory / "junit.xml").write_bytes(render.junit(report))
    try:
        page.write(directory, report, base)
    except Exception as error:  # noqa: BLE001 - the report stands, whatever becomes of its pictures
        reason = f"{type(error).__name__}: {error}"
        print(f"{page.NAME} could not be rendered: {reason}", file=sys.stderr)


def _collected(judged: Mapping[str, Judged]) -> dict[str, dict[str, str]]:
    return {table: columns for gate in judged.values() for table, columns in gate.collected.items()}


def _conclusion(
    session: Session, project: Project, releases: Path, *, interrupted: bool
) -> Conclusion:
    attempts = [
        entry
        for entry in ledger.attempts_at(releases, session.inputs)
        if entry[0].session != session.id
    ]
    failed = {
        gate
        for _, outcome in attempts
        if outcome is not None
        for gate, status in outcome.statuses.items()
        if status == "FAIL"
    }
    return Conclusion(
        elapsed_s=time.time() - session.started_at_ms / 1000,
        interrupted=interrupted,
        inputs_after=digests_now(project, session.toxiproxy),
        attempts=[_attempt(attempt, outcome) for attempt, outcome in attempts]
        if session.options.full
        else [],
        flaky_before=sorted(failed) if session.options.full else [],
        cards=[_card(project, name) for name in session.gates],
        existing=sorted(project.gates),
    )


def _attempt(attempt: ledger.Attempt, outcome: ledger.Outcome | None) -> AttemptReport:
    statuses = outcome.statuses if outcome is not None else {}
    return AttemptReport(
        session=attempt.session,
        at=timestamp_of(attempt.at_ms),
        ended=outcome is not None,
        failed=sorted(gate for gate, status in statuses.items() if status == "FAIL"),
        unknown=sorted(gate for gate, status in statuses.items() if status == "UNKNOWN"),
    )


def _card(project: Project, name: str) -> Card:
    gate = project.gates[name]
    return Card(
        id=gate.id,
        gate=gate.gate,
        class_=gate.class_,
        epic=gate.epic,
        severity=gate.severity,
        title=gate.title,
        target=gate.target,
        defects=[_defect(defect) for defect in gate.falsified_by],
        rerun=_rerun(project, gate.id),
    )


def _rerun(project: Project, gate_id: str) -> str:
    """The command that runs a gate again, for specs that need not be this repository's own."""
    root = project.root
    if project.specs == root / "specs" and (root / "noxfile.py").exists():
        return rerun_command(gate_id)
    inside = project.specs.is_relative_to(root)
    specs = project.specs.relative_to(root) if inside else project.specs
    return rerun_command(gate_id, str(specs))


def _defect(defect: Defect) -> DefectReport:
    return DefectReport(defect=defect.defect, file=defect.file, fails=defect.fails, proven=None)


def _reports_of(
    evidence: Evidence, judged: Judged, session: Session, conclusion: Conclusion
) -> Iterator[GateReport]:
    """One report per run: one for a release, as many as were asked for with `--repeat`."""
    (card,) = [card for card in conclusion.cards if card.gate == judged.gate]
    records = [record for record in evidence.runs() if record.run.gate == judged.gate]
    if not records and session.options.expression is not None:
        # Not selected, so there is nothing to judge; it is listed as not run.
        return
    if session.options.repeat == 1:
        record = records[0] if len(records) == 1 else None
        yield _report_of(card, judge_gate(evidence, judged, FAULT_PROOFS), evidence, record, judged)
        return
    for record in sorted(records, key=lambda record: record.run.seed):
        verdict = judge_gate(evidence, judged, FAULT_PROOFS, record.run.run_id)
        yield _report_of(card, verdict, evidence, record, judged)
    for _ in range(session.options.repeat - len(records)):
        yield _report_of(
            card, judge_gate(evidence, judged, FAULT_PROOFS, "none"), evidence, None, judged
        )


def _report_of(
    card: Card, verdict: GateVerdict, evidence: Evidence, record: RunRecord | None, judged: Judged
) -> GateReport:
    key = record.key if record is not None else ("", "")
    return GateReport(
        name=card.gate,
        class_=card.class_,
        epic=card.epic,
        status=verdict.status,
        detail=verdict.detail,
        duration_s=round(record.end.finished_ms / 1000, 3)
        if record is not None and record.end
        else 0.0,
        id=card.id,
        severity=card.severity,
        title=card.title,
        run_id=verdict.run_id,
        assertions=_assertions(card, verdict, judged),
        faults=[FaultReport(**msgspec.structs.asdict(fault)) for fault in verdict.faults],
        defects=card.defects,
        config=msgspec.json.decode(record.run.config) if record is not None else {},
        evidence=_row_counts(evidence, key),
        spec_sha256=judged.spec_sha256,
        rerun=card.rerun,
    )


def _assertions(card: Card, verdict: GateVerdict, judged: Judged) -> list[AssertionReport]:
    by_sham = {assertion.that: assertion.killed_by_sham for assertion in judged.asserts}
    return [
        AssertionReport(
            **msgspec.structs.asdict(result),
            falsified_by=[defect.defect for defect in card.defects if result.that in defect.fails],
            killed_by_sham=by_sham[result.that],
        )
        for result in verdict.assertions
    ]


def _entries(
    release: Release, gates: Sequence[GateReport], conclusion: Conclusion
) -> list[GateReport]:
    """One entry per gate of the release, in its order; what was not run is there as well."""
    ran = {gate.name: gate for gate in gates}
    entries = [
        ran.pop(listed.gate) if listed.gate in ran else _absent(listed, conclusion)
        for listed in release.gates
    ]
    return [*entries, *ran.values()]


def _absent(listed: ListedGate, conclusion: Conclusion) -> GateReport:
    if listed.gate in conclusion.existing:
        return absent(listed, "SKIP", "not part of this run")
    return absent(listed, "MISSING", "there is no such gate yet")


def _changed_inputs(session: Session, conclusion: Conclusion) -> list[str]:
    changed = [
        name
        for name, digest in session.digests.items()
        if conclusion.inputs_after.get(name) != digest
    ]
    return [f"{name} changed while the gates ran" for name in changed]


def _contract(evidence: Evidence, release: Release) -> tuple[bool | None, str]:
    """Decided by the step of that name in the exercise of the release's target."""
    gate = exercise_name(release.target)
    steps = [
        step
        for record in evidence.runs()
        if record.run.gate == gate
        for step in evidence.rows(Step, record.key)
        if step.name == CONTRACT_STEP
    ]
    if len(steps) != 1:
        return None, "the live API was not compared with the contract"
    if steps[0].outcome == "ok":
        return True, f"nothing that {release.contract_version} promises is broken"
    return (False if steps[0].outcome == "failed" else None), steps[0].detail or steps[0].outcome


def _row_counts(evidence: Evidence, key: tuple[str, str]) -> dict[str, int]:
    counts = evidence.grouped(
        "row counts",
        f"SELECT run_id, gate, sealed_table, row_count FROM {stored('digests')}",  # noqa: S608  # a fixed name
    )
    return {str(table): int(str(count)) for table, count in counts.get(key, [])}


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
        before, after = (msgspec.to_builtins(getattr(report, field)) for report in (stored, again))
        if field == "gates":
            yield from _gate_differences(stored.gates, again.gates)
        elif before != after:
            yield f"{field} is {after!r}, the report says {before!r}"


def _gate_differences(stored: Sequence[GateReport], again: Sequence[GateReport]) -> Iterator[str]:
    names = [[gate.name for gate in gates] for gates in (stored, again)]
    if names[0] != names[1]:
        yield f"the gates are {', '.join(names[1])}, the report has {', '.join(names[0])}"
        return
    for before, after in zip(stored, again, strict=True):
        if msgspec.json.encode(before) != msgspec.json.encode(after):
            yield f"{after.id} {after.name} is {after.status} ({after.detail}), the report says {before.status}"


def _put_in_place(staged: Path, final: Path) -> Path:
    """Swap the directories: a reader sees the old release or the new one, never half of one."""
    if final.exists():
        old = staged.with_name(staged.name + ".old")
        final.rename(old)
        staged.rename(final)
        shutil.rmtree(old)
    else:
        staged.rename(final)
    return final


def _write(path: Path, value: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value)))


def _read(path: Path, kind: type[S]) -> S:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise HarnessError(f"cannot read {path}: {error}") from error

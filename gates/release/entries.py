"""The entry of each gate in the report: its verdict, its proof, and what it is."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from chaos.faults import SIGNATURES
from gates.judge.connection import Evidence, RunRecord
from gates.judge.result import GateVerdict
from gates.judge.tables import stored
from gates.judge.verdict import judge_attempts, judge_gate
from gates.release.proofs import Proven
from gates.release.report import (
    AssertionReport,
    DefectReport,
    FaultReport,
    GateAttempt,
    GateReport,
    absent,
)
from gates.run.session import Session
from gates.spec.assertion import Judged
from gates.spec.gate import Defect, Gate
from gates.spec.release import ListedGate, Release


def _defect(defect: Defect) -> DefectReport:
    return DefectReport(
        defect=defect.defect,
        file=defect.file,
        fails=defect.fails,
        proven=None,
        may_fail=defect.may_fail,
        racing=defect.racing,
    )


def with_proof(report: GateReport, proven: Proven) -> GateReport:
    """The report of a gate with what its proof came to."""
    proof = proven.proof
    by_name = {one.name: one for one in proof.proofs}
    defects = []
    for defect in report.defects:
        own = by_name[defect.defect]
        defects.append(
            msgspec.structs.replace(
                defect, proven=own.proven, diff=own.diff, measured=own.measured, why=own.why
            )
        )
    assertions = [
        msgspec.structs.replace(one, killed_by=proof.killed_by.get(one.that, []))
        for one in report.assertions
    ]
    return msgspec.structs.replace(
        report,
        proven=proof.proven,
        unproven=proof.why,
        missing_trials=proof.missing,
        made=proven.made,
        defects=defects,
        assertions=assertions,
    )


def reports_of(
    evidence: Evidence, judged: Judged, gate: Gate, session: Session, rerun: str
) -> Iterator[GateReport]:
    """One report per run: one for a release, as many as were asked for with `--repeat`."""
    records = evidence.runs_of(judged.gate)
    if not records and session.options.expression is not None:
        # Not selected, so there is nothing to judge; it is listed as not run.
        return
    if session.options.repeat == 1:
        verdicts = judge_attempts(evidence, judged, SIGNATURES, session.mode)
        by_run = {record.run.run_id: record for record in records}
        last = by_run.get(verdicts[-1].run_id or "")
        report = _report_of(gate, rerun, verdicts[-1], evidence, last, judged)
        attempts = [_attempt(n, each, evidence, by_run) for n, each in enumerate(verdicts, start=1)]
        yield msgspec.structs.replace(report, attempts=attempts if len(attempts) > 1 else [])
        return
    for record in sorted(records, key=lambda record: record.run.seed):
        verdict = judge_gate(evidence, judged, SIGNATURES, record.run.run_id)
        yield _report_of(gate, rerun, verdict, evidence, record, judged)
    for _ in range(session.options.repeat - len(records)):
        verdict = judge_gate(evidence, judged, SIGNATURES, "none")
        yield _report_of(gate, rerun, verdict, evidence, None, judged)


def _attempt(
    number: int, verdict: GateVerdict, evidence: Evidence, runs: Mapping[str, RunRecord]
) -> GateAttempt:
    record = runs.get(verdict.run_id or "")
    return GateAttempt(
        attempt=number,
        run_id=verdict.run_id,
        status=verdict.status,
        cause=verdict.cause,
        detail=verdict.detail,
        duration_s=_duration_s(record),
        evidence=_row_counts(evidence, record.key) if record is not None else {},
    )


def _duration_s(record: RunRecord | None) -> float:
    if record is None or record.end is None:
        return 0.0
    return round(record.end.finished_ms / 1000, 3)


def _report_of(
    gate: Gate,
    rerun: str,
    verdict: GateVerdict,
    evidence: Evidence,
    record: RunRecord | None,
    judged: Judged,
) -> GateReport:
    key = record.key if record is not None else ("", "")
    return GateReport(
        name=gate.gate,
        class_=gate.class_,
        epic=gate.epic,
        status=verdict.status,
        detail=verdict.detail,
        duration_s=_duration_s(record),
        id=gate.id,
        severity=gate.severity,
        title=gate.title,
        run_id=verdict.run_id,
        assertions=_assertions(gate, verdict, judged),
        faults=[FaultReport(**msgspec.structs.asdict(fault)) for fault in verdict.faults],
        defects=[_defect(defect) for defect in gate.falsified_by],
        config=msgspec.json.decode(record.run.config) if record is not None else {},
        evidence=_row_counts(evidence, key),
        spec_sha256=judged.spec_sha256,
        rerun=rerun,
        queries=judged.with_,
        reasons=verdict.reasons,
        cause=verdict.cause,
    )


def _assertions(gate: Gate, verdict: GateVerdict, judged: Judged) -> list[AssertionReport]:
    written = {assertion.that: assertion for assertion in judged.asserts}
    return [
        AssertionReport(
            **msgspec.structs.asdict(result),
            falsified_by=[one.defect for one in gate.falsified_by if result.that in one.fails],
            killed_by_sham=written[result.that].killed_by_sham,
            spec=written[result.that],
        )
        for result in verdict.assertions
    ]


def entries_of(
    release: Release, gates: Sequence[GateReport], existing: Sequence[str]
) -> list[GateReport]:
    """One entry per gate of the release, in its order; what was not run is there as well."""
    ran = {gate.name: gate for gate in gates}
    entries = [
        ran.pop(listed.gate) if listed.gate in ran else _absent(listed, existing)
        for listed in release.gates
    ]
    return [*entries, *ran.values()]


def _absent(listed: ListedGate, existing: Sequence[str]) -> GateReport:
    if listed.gate in existing:
        return absent(listed, "SKIP", "not part of this run")
    return absent(listed, "MISSING", "there is no such gate yet")


def _row_counts(evidence: Evidence, key: tuple[str, str]) -> dict[str, int]:
    counts = evidence.grouped(
        "row counts",
        f"SELECT run_id, gate, sealed_table, row_count FROM {stored('digests')}",  # noqa: S608  # a fixed name
    )
    return {str(table): int(str(count)) for table, count in counts.get(key, [])}

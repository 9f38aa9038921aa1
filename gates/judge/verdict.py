"""The verdict on a gate: integrity, faults and assertions, merged."""

from collections.abc import Iterator, Sequence

import duckdb
import msgspec

from chaos.evidence import schema
from chaos.evidence.schema import Mode
from gates.judge import assertions, binding, comparator, integrity, leaves, telling
from gates.judge.compiler import compile_gate
from gates.judge.connection import Evidence, RunRecord, message_of
from gates.judge.faults import Signatures, judge_faults
from gates.judge.plan import AssertPlan, GatePlan
from gates.judge.result import (
    AssertionResult,
    Cause,
    FaultResult,
    Finding,
    GateVerdict,
    Status,
    merge,
)
from gates.spec.assertion import Assertion, Judged

TIME_LIMIT_S = 30.0
"""How long the assertions of one gate may take before they are interrupted, and UNKNOWN."""

_UNUSABLE = frozenset({"evidence", "run", "seal", "judge"})
"""What makes a verdict UNKNOWN whatever else was found: half of the evidence can look like a failure, too."""

SHOWN_REASONS = 3
"""How many reasons the detail of a verdict has; its `reasons` are all of them."""

_LATENCIES = frozenset({"latency_ms", "service_ms"})


def judge_attempts(
    evidence: Evidence, judged: Judged, signatures: Signatures, mode: Mode = "healthy"
) -> list[GateVerdict]:
    """The verdicts on a gate's attempts, at least one; the last of them is the verdict on the gate.

    It counts as it is where every attempt before it was UNKNOWN by the host. Never raises, see `judge_gate`.
    """
    try:
        chosen = integrity.attempts_of(evidence, judged.gate, mode)
    except Exception as error:  # noqa: BLE001 - as below
        return [_broken(judged, error)]
    if chosen.problem is not None:
        return [_none(judged, chosen.problem)]
    verdicts = [
        judge_gate(evidence, judged, signatures, record.run.run_id) for record in chosen.records
    ]
    wrong = [*_repeated_without_reason(verdicts[:-1])]
    return [*verdicts[:-1], _with_findings(verdicts[-1], wrong)]


def _repeated_without_reason(verdicts: Sequence[GateVerdict]) -> Iterator[Finding]:
    """Attempts after which there must have been no other."""
    for number, verdict in enumerate(verdicts, start=1):
        if verdict.cause != "host":
            message = f"attempt {number} was {verdict.status} ({verdict.detail}), and was repeated: that is for a slow host only"
            yield Finding("FAIL" if verdict.status == "FAIL" else "UNKNOWN", "attempt", message)


def _with_findings(verdict: GateVerdict, found: list[Finding]) -> GateVerdict:
    if not found:
        return verdict
    status = merge([verdict.status, *(finding.status for finding in found)])
    findings = [*found, *verdict.findings]
    reasons = _reasons(status, verdict.assertions, findings)
    return msgspec.structs.replace(
        verdict,
        status=status,
        detail=_detail(reasons, verdict.assertions),
        reasons=reasons,
        findings=findings,
        cause=None,
    )


def judge_gate(
    evidence: Evidence, judged: Judged, signatures: Signatures, run_id: str | None = None
) -> GateVerdict:
    """The verdict on a gate by its healthy runs, or on the run with this id in whatever mode.

    Never raises: whatever goes wrong while judging is UNKNOWN, with the error's text.
    """
    if run_id is None:
        return judge_attempts(evidence, judged, signatures)[-1]
    try:
        chosen = integrity.choose(evidence, judged.gate, run_id)
        if chosen.problem is not None:
            return _none(judged, chosen.problem)
        return _judge(evidence, judged, signatures, chosen.records[0])
    except Exception as error:  # noqa: BLE001 - a judge that breaks must never pass anything
        return _broken(judged, error)


def _none(judged: Judged, problem: str) -> GateVerdict:
    """The verdict where there is no run to judge."""
    return _verdict(judged, None, [], [], [Finding("UNKNOWN", "run", problem)])


def _broken(judged: Judged, error: Exception) -> GateVerdict:
    message = message_of(error) if isinstance(error, duckdb.Error) else str(error)
    finding = Finding("UNKNOWN", "judge", f"judging failed: {message}")
    return _verdict(judged, None, [], [], [finding])


def _judge(
    evidence: Evidence, judged: Judged, signatures: Signatures, record: RunRecord
) -> GateVerdict:
    plan = compile_gate(evidence.connection, judged)
    found = integrity.findings(evidence, judged, record, limit_ms(plan))
    faults = judge_faults(evidence, record, judged.faults, signatures)
    if not plan.problems and not rests_on_outside(plan):
        message = "no assertion rests on a table that is observed from outside"
        found.append(Finding("UNKNOWN", "assertion", message))
    found += _host(evidence, judged, record)
    results = _results(evidence, plan, record)
    if any(finding.cause == "host" for finding in found):
        results = [
            _meaningless(own) if written.timed and own.status == "FAIL" else own
            for written, own in zip(judged.asserts, results, strict=True)
        ]
    return _verdict(judged, record, results, faults, found)


def host_of(judged: Judged) -> Judged:
    """What is judged of the host, as a gate of its own: all of it is `timed`."""
    checks = [msgspec.structs.replace(check, timed=True) for check in judged.host]
    return msgspec.structs.replace(judged, asserts=checks, host=[])


def _host(evidence: Evidence, judged: Judged, record: RunRecord) -> Iterator[Finding]:
    """Whether the machine was quick enough, by the gate's own control series (rule 20)."""
    if not judged.host:
        return
    plan = compile_gate(evidence.connection, host_of(judged))
    for result in _results(evidence, plan, record):
        if result.status != "PASS":
            # What could not be judged, or was never answered, says nothing about the host.
            slow = result.status == "FAIL" and not result.nulls
            cause: Cause | None = "host" if slow else None
            yield Finding("UNKNOWN", "host", telling.line(result), cause)


def _meaningless(failed: AssertionResult) -> AssertionResult:
    why = f"{failed.why}; the host was too slow for that to mean anything"
    return msgspec.structs.replace(failed, status="UNKNOWN", why=why, cause="host")


def _results(evidence: Evidence, plan: GatePlan, record: RunRecord) -> list[AssertionResult]:
    runnable = [
        own for index, own in enumerate(plan.asserts) if own and not plan.problems_of(index)
    ]
    with binding.bound(evidence, plan, record.key, TIME_LIMIT_S) as bound:
        edited = record.run.mode != "healthy"
        found = iter(assertions.judge(runnable, plan, bound, edited=edited))
    results = []
    for index, assertion in enumerate(plan.judged.asserts):
        problems = plan.problems_of(index)
        if plan.asserts[index] is None or problems:
            why = problems[0].message if problems else "it cannot be run"
            results.append(_not_runnable(assertion, why))
        else:
            results.append(next(found))
    return results


def _not_runnable(assertion: Assertion, why: str) -> AssertionResult:
    return AssertionResult(
        that=assertion.that,
        status="UNKNOWN",
        measured=None,
        expectation="",
        population=None,
        at_least=assertion.at_least,
        violating=None,
        rows=[],
        sql="",
        why=why,
    )


def _verdict(
    judged: Judged,
    record: RunRecord | None,
    results: list[AssertionResult],
    faults: list[FaultResult],
    found: list[Finding],
) -> GateVerdict:
    found = [
        *found,
        *(Finding("UNKNOWN", "fault", f"{f.fault}: {f.why}") for f in faults if not f.proven),
    ]
    if not results and record is not None:
        found.append(Finding("UNKNOWN", "assertion", "there are no assertions"))
    unusable = any(finding.source in _UNUSABLE for finding in found)
    statuses = [*(result.status for result in results), *(finding.status for finding in found)]
    status: Status = "UNKNOWN" if unusable else merge(statuses)
    causes = {each.cause for each in found if each.status == "UNKNOWN"}
    causes |= {each.cause for each in results if each.status == "UNKNOWN"}
    by_host = "FAIL" not in statuses and causes == {"host"}
    reasons = _reasons(status, results, found)
    return GateVerdict(
        gate=judged.gate,
        id=judged.id,
        run_id=record.run.run_id if record else None,
        mode=record.run.mode if record else None,
        status=status,
        detail=_detail(reasons, results),
        reasons=reasons,
        assertions=results,
        faults=faults,
        findings=found,
        cause="host" if status == "UNKNOWN" and by_host else None,
    )


def _reasons(status: str, results: list[AssertionResult], found: list[Finding]) -> list[str]:
    """The reasons of anything but PASS; what is behind the status comes first."""
    reasons = [(f.status, f"{f.source}: {f.message}") for f in found]
    reasons += [(r.status, telling.line(r)) for r in results if r.status != "PASS"]
    ordered = sorted(reasons, key=lambda reason: reason[0] != status)
    return list(dict.fromkeys(text for _, text in ordered))


def _detail(reasons: Sequence[str], results: Sequence[AssertionResult]) -> str:
    if not reasons:
        return f"{len(results)} assertions hold"
    more = len(reasons) - SHOWN_REASONS
    return "; ".join(reasons[:SHOWN_REASONS]) + (f"; and {more} more" if more > 0 else "")


def rests_on_outside(plan: GatePlan) -> bool:
    """Whether at least one assertion rests on what was observed from outside the system under test."""
    return any(own.reads & set(schema.OUTSIDE) for own in plan.asserts if own)


def outside_population(connection: duckdb.DuckDBPyConnection, judged: Judged) -> bool:
    """The same for a gate that is not compiled yet; the connection is used as a parser only."""
    return rests_on_outside(compile_gate(connection, judged))


def limit_ms(plan: GatePlan) -> float | None:
    """The smallest upper limit that an assertion puts on a latency, in milliseconds; None when none does."""
    limits = [limit for own in plan.asserts if own for limit in limits_of(own)]
    return min(limits, default=None)


def limits_of(plan: AssertPlan) -> Iterator[float]:
    """The upper limits that one assertion puts on latencies, in milliseconds."""
    if not _LATENCIES & {leaf.column for leaf in plan.split.leaves}:
        return
    bound = plan.comparator
    if (
        plan.test == "value"
        and isinstance(bound, comparator.Simple)
        and comparator.upper_bounded(bound)
    ):
        yield float(bound.bound)
    if plan.test != "value":
        yield from leaves.upper_limits(plan.split, _LATENCIES)

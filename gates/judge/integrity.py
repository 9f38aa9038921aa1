"""What must be true of a run before its assertions mean anything: one run, complete, sealed, as planned."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from chaos.evidence.schema import Load, Mode, Process, RunRow, Socket, Step
from gates.judge import tables
from gates.judge.connection import Evidence, RunKey, RunRecord
from gates.judge.result import Cause, Finding
from gates.spec.assertion import Judged

MAX_DRIFT_MS = 50.0
"""How far the wall clock may move against the monotonic one during a run."""

MOST_ATTEMPTS = 3
"""How often a gate may be run in one session: again only where the host was why the run before was UNKNOWN."""

MAX_LATE_SHARE = 0.1
"""How late a load may send, at its 99th percentile, as a share of the smallest limit on latency."""

GATE_DIGEST = "gate"
"""The name under which a run records the digest of its gate."""


class Chosen(Struct, frozen=True):
    """The runs that are judged, in the order of their attempts, or why there are none."""

    records: list[RunRecord]
    problem: str | None


def choose(evidence: Evidence, gate: str, run_id: str) -> Chosen:
    """The run with this id."""
    found = [record for record in evidence.runs_of(gate) if record.run.run_id == run_id]
    if len(found) != 1:
        return Chosen([], f"expected one run {run_id} of {gate}, and there are {len(found)}")
    return Chosen(found, None)


def attempts_of(evidence: Evidence, gate: str, mode: Mode) -> Chosen:
    """The gate's runs in this mode, one after the other, numbered from 1 without a gap (rule 2)."""
    found = [record for record in evidence.runs_of(gate) if record.run.mode == mode]
    found.sort(key=lambda record: (record.run.attempt, record.run.run_id))
    numbers = [record.run.attempt for record in found]
    if not found or len(set(numbers)) != len(numbers):
        message = f"expected one {mode} run of {gate}, and there are {len(found)}"
        return Chosen([], message if numbers.count(1) == len(numbers) else _numbered(gate, numbers))
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) > MOST_ATTEMPTS:
        return Chosen([], _numbered(gate, numbers))
    for before, after in itertools.pairwise(found):
        if not _ended_at_ms(before) <= after.run.epoch_ms:
            return Chosen(
                [],
                f"attempt {after.run.attempt} of {gate} began before the one it repeats had ended",
            )
    return Chosen(found, None)


def _numbered(gate: str, numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers))
    return f"the attempts of {gate} are numbered {shown}, not from 1 to at most {MOST_ATTEMPTS}"


def _ended_at_ms(record: RunRecord) -> float:
    """When a run had ended, by the wall clock; without an end, at no time."""
    if record.end is None:
        return math.inf
    return record.run.epoch_ms + record.end.finished_ms + record.end.clock_drift_ms


def findings(
    evidence: Evidence, judged: Judged, record: RunRecord, limit_ms: float | None
) -> list[Finding]:
    """Everything about a run that is no assertion and no fault, most serious subjects first."""
    return [
        *_unknown("evidence", evidence.problems),
        *_unknown("evidence", evidence.altered.get(record.key, [])),
        *_unknown("run", [*_ended_well(record), *_version(record, judged)]),
        *_unknown("run", _drifted(record), cause="host"),
        *_unknown("seal", _seals(evidence, record.key)),
        *_steps(evidence, record.run),
        *_unknown("exit", _exits(evidence, record.key, judged.exits)),
        *_unknown("left", _left(evidence, record.key)),
        *_unknown("load", _loads(evidence, record.key, judged.loads)),
        *_unknown("load", _late(evidence, record.key, limit_ms), cause="host"),
        *_unknown("clock", _backwards(evidence, record.key) if limit_ms is not None else []),
    ]


def _unknown(source: str, messages: Iterable[str], cause: Cause | None = None) -> Iterator[Finding]:
    for message in messages:
        yield Finding("UNKNOWN", source, message, cause)


def unusable(evidence: Evidence, record: RunRecord) -> list[str]:
    """Why nothing may be taken from a run, whatever it is asked about: cut off, changed, or not as it was closed."""
    return [
        *evidence.problems,
        *evidence.altered.get(record.key, []),
        *_ended_well(record),
        *_drifted(record),
        *_seals(evidence, record.key),
    ]


def _ended_well(record: RunRecord) -> Iterator[str]:
    if record.end is None:
        yield "the run has no end: it was killed, or its recording was"
        return
    if record.end.end_state != "completed":
        detail = f": {record.end.end_detail}" if record.end.end_detail else ""
        yield f"the run is {record.end.end_state}{detail}"


def _drifted(record: RunRecord) -> Iterator[str]:
    if record.end is not None and not abs(record.end.clock_drift_ms) <= MAX_DRIFT_MS:
        yield f"the wall clock moved by {record.end.clock_drift_ms:.0f} ms during the run; {MAX_DRIFT_MS:.0f} are allowed"


def _version(record: RunRecord, judged: Judged) -> Iterator[str]:
    digest = digests_of(record.run).get(GATE_DIGEST)
    if judged.spec_sha256 and digest != judged.spec_sha256:
        yield "the run is of another version of this gate"


def _backwards(evidence: Evidence, run: RunKey) -> Iterator[str]:
    """Latencies below nothing would meet every limit."""
    rows = evidence.look("requests", ["sent_ms", "done_ms"], run)
    sql = (
        f"SELECT count(*) FROM ({rows}) WHERE done_ms < sent_ms OR NOT isfinite(done_ms - sent_ms)"
    )
    (count,) = evidence.connection.execute(sql).fetchone() or (0,)
    if count:
        yield f"{count} requests were answered before they were sent, or at no time"


def digests_of(run: RunRow) -> dict[str, str]:
    """The digests that a run recorded before it began."""
    return msgspec.json.decode(run.digests, type=dict[str, str])


def _seals(evidence: Evidence, run: RunKey) -> Iterator[str]:
    """Every file of the run must be what was closed, and there must be some."""
    found = evidence.grouped(
        "seals",
        f'SELECT run_id, gate, "file", problem FROM {tables.stored("seals")} ORDER BY "file"',
    ).get(run, [])
    if not any(str(file) == "closings.jsonl" for file, _ in found):
        yield "the run was never closed"
    for file, problem in found:
        if problem is not None:
            yield f"{file}: {problem}"


def _steps(evidence: Evidence, run: RunRow) -> Iterator[Finding]:
    rows: dict[str, list[Step]] = {}
    for row in evidence.rows(Step, (run.run_id, run.gate)):
        rows.setdefault(row.step, []).append(row)
    if not run.planned:
        yield Finding("UNKNOWN", "step", "no steps were planned")
    for step in sorted(rows.keys() - set(run.planned)):
        yield Finding("UNKNOWN", "step", f"{step} ended without having been planned")
    parents = parents_of(run.planned)
    for step in run.planned:
        yield from _ended(step, rows, parents[step])


def parents_of(planned: Sequence[str]) -> dict[str, str | None]:
    """The step that each planned step stands under: `scenario.0` for `scenario.0.meanwhile.1`."""
    known = set(planned)
    parents: dict[str, str | None] = {}
    for step in planned:
        above = step.rpartition(".")[0]
        while above and above not in known:
            above = above.rpartition(".")[0]
        parents[step] = above or None
    return parents


def _ended(step: str, rows: Mapping[str, Sequence[Step]], parent: str | None) -> Iterator[Finding]:
    """Whether a step ended as often as it had to, and how."""
    ended = rows.get(step, [])
    expected, may_be_fewer = _times(rows.get(parent, []) if parent else None)
    if len(ended) > expected or (len(ended) < expected and not may_be_fewer):
        yield Finding("UNKNOWN", "step", f"{step} ended {len(ended)} times, not {expected}")
    for row in ended:
        if row.outcome != "ok":
            yield _outcome(row)


def _times(parents: Sequence[Step] | None) -> tuple[int, bool]:
    """How often a step below these must have ended, and whether less is no news: what holds its parent up is."""
    if parents is None:
        return 1, False
    times = sum(1 if row.iterations is None else row.iterations for row in parents)
    return times, any(row.outcome != "ok" for row in parents)


def _outcome(row: Step) -> Finding:
    name = f"{row.step} ({row.kind}{f' {row.name}' if row.name else ''})"
    detail = f": {row.detail}" if row.detail else ""
    if row.outcome == "failed" and row.step.startswith("scenario."):
        return Finding("FAIL", "step", f"{name} failed{detail}")
    return Finding(
        "UNKNOWN",
        "control" if row.step.startswith("control.") else "step",
        f"{name} {row.outcome}{detail}",
    )


def _exits(evidence: Evidence, run: RunKey, expected: Sequence[str]) -> Iterator[str]:
    """A process that ended by itself: what was measured since is not of the system that was started (rule 23a)."""
    for row in evidence.rows(Process, run):
        if row.ended_by == "itself" and row.process not in expected:
            yield f"{row.process} ended by itself, with {row.exit}, {row.exited_ms:.0f} ms into the run: see {row.output}"


def _left(evidence: Evidence, run: RunKey) -> Iterator[str]:
    """Who listened on a port of the target when all that was to listen there had ended."""
    for row in evidence.rows(Socket, run):
        if row.watch is None:
            yield f"after the end of {row.process} process {row.pid} still listened on its port, {row.address}:{row.port}"


def _loads(evidence: Evidence, run: RunKey, planned: Sequence[str]) -> Iterator[str]:
    """A load is valid when all that was planned was sent and is in the evidence."""
    rows = evidence.rows(Load, run)
    for name in dict.fromkeys(planned):
        if not any(row.load == name for row in rows):
            yield f"nothing was recorded of the load {name}"
    for row in rows:
        yield from _load(row)
    if rows:
        yield from _requests_of(evidence, run, rows)


def _load(row: Load) -> Iterator[str]:
    if row.problem:
        yield f"{row.load}: {row.problem}"
    if row.planned < 1:
        yield f"{row.load} planned nothing"
    if row.sent != row.planned:
        yield f"{row.load} sent {row.sent} of {row.planned} planned requests"


def _late(evidence: Evidence, run: RunKey, limit_ms: float | None) -> Iterator[str]:
    """Where latency is limited, a load is valid only when it was sent in time."""
    if limit_ms is None:
        return
    for row in evidence.rows(Load, run):
        if not row.late_p99_ms <= limit_ms * MAX_LATE_SHARE:
            yield (
                f"{row.load} sent up to {row.late_p99_ms:.1f} ms late (p99); with a limit of {limit_ms:g} ms"
                f" at most {limit_ms * MAX_LATE_SHARE:g} are allowed"
            )


def _requests_of(evidence: Evidence, run: RunKey, rows: Sequence[Load]) -> Iterator[str]:
    found = evidence.grouped(
        "requests per load",
        f"SELECT run_id, gate, load, count(*) FROM {tables.stored('requests')} WHERE load IS NOT NULL GROUP BY ALL",
    ).get(run, [])
    recorded = {str(load): int(str(count)) for load, count in found}
    sent: dict[str, int] = {}
    for row in rows:
        sent[row.load] = sent.get(row.load, 0) + row.sent
    for load, count in sent.items():
        if recorded.get(load, 0) != count:
            yield f"{load} sent {count} requests, of which {recorded.get(load, 0)} are recorded"


def release_problems(evidence: Evidence, shipped: Mapping[str, str]) -> list[str]:
    """What is wrong with the evidence of a release as a whole.

    Every digest that healthy runs recorded, besides those of their gates, must be the same in all runs of one
    target, and equal to what is shipped, where `shipped` names it.
    """
    problems = list(evidence.problems)
    problems += [
        f"{gate}: {text}" for (_, gate), texts in sorted(evidence.altered.items()) for text in texts
    ]
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for record in evidence.runs():
        if record.run.mode != "healthy":
            continue
        for name, digest in digests_of(record.run).items():
            if name != GATE_DIGEST:
                seen.setdefault((record.run.target, name), {}).setdefault(digest, record.run.gate)
    for (target, name), digests in sorted(seen.items()):
        if len(digests) > 1:
            gates = " and ".join(sorted(digests.values())[:2])
            problems.append(f"{name} of {target} is not the same in all runs: {gates} differ")
        elif name in shipped and shipped[name] not in digests:
            problems.append(f"{name} of {target} is not what is shipped")
    return problems

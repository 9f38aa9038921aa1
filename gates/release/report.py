"""`gate-report.json`: what a release manager reads and everything else is rendered from."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from gates.judge.result import Cause
from gates.release.pins import pins
from gates.spec.assertion import Assertion, Named
from gates.spec.release import ListedGate, Release

SCHEMA_VERSION = "15.0"
Status = Literal["PASS", "FAIL", "UNKNOWN", "SKIP", "MISSING"]
EXIT_PROMOTE, EXIT_FAILED, EXIT_UNKNOWN, EXIT_SPEC, EXIT_BROKEN = range(5)
EXIT_MEANING: Mapping[int, str] = {
    EXIT_PROMOTE: "PROMOTE",
    EXIT_FAILED: "HOLD: a gate or an invariant failed",
    EXIT_UNKNOWN: "HOLD: something was not measured",
    EXIT_SPEC: "a spec is wrong",
    EXIT_BROKEN: "the harness broke",
}


def yaml_name(field: str) -> str:
    """`class_` in Python is `class` in JSON."""
    return field.rstrip("_")


class AssertionReport(Struct, frozen=True, kw_only=True, rename=yaml_name):
    """One assertion: what was measured against what was expected, over which rows, by which SQL.

    `rows` begin with what the predicate looks at, whose names are in `looks_at`; it is NULL for `nulls` of all rows.
    `spec` is the assertion as it is written in the gate, `killed_by` the defects (and `sham`) that were
    shown to turn it red.
    """

    that: str
    status: Status
    measured: object
    expectation: str
    population: int | None
    at_least: int
    violating: int | None
    rows: list[dict[str, object]]
    sql: str
    why: str | None
    falsified_by: list[str]
    killed_by_sham: bool
    killed_by: list[str] = []
    spec: Assertion | None = None
    cause: Cause | None = None
    looks_at: list[str] = []
    nulls: int = 0


class FaultReport(Struct, frozen=True, kw_only=True):
    """One fault with its proof as the judge recomputed it. Times are milliseconds of the run."""

    fault: str
    kind: str
    link: str
    direction: str
    attributes: object
    on_ms: float | None
    proven_ms: float | None
    off_ms: float | None
    clean_ms: float | None
    proven: bool
    own_before: int
    why: str | None


class DefectReport(Struct, frozen=True, kw_only=True):
    """A defect that the gate names, and whether it was shown to turn exactly these assertions red.

    `diff` is the edit as it was made, `measured` what its red assertions came to, `why` what its proof lacks;
    `proven` is None where it was not tried.
    """

    defect: str
    file: str
    fails: list[str]
    proven: bool | None
    may_fail: list[str] = []
    racing: bool = False
    diff: str = ""
    measured: dict[str, str] = {}
    why: str | None = None


class Made(Struct, frozen=True, kw_only=True):
    """When (RFC 3339) and on which machine the run of a proof was made."""

    at: str
    host: str


class GateAttempt(Struct, frozen=True, kw_only=True):
    """One of several runs of a gate in one session. Each but the last was UNKNOWN by the host (`cause`), the last counts."""

    attempt: int
    run_id: str | None
    status: Status
    cause: Cause | None
    detail: str
    duration_s: float
    evidence: dict[str, int]


class GateReport(Struct, frozen=True, kw_only=True, rename=yaml_name):
    """One gate. `reasons` are those of anything but PASS, `detail` has the first; `rerun` the command that runs it again.

    `proven` says whether the gate was shown to be able to fail, `unproven` what is missing of that; it is
    None where nothing is wrong but that trials are missing, `missing_trials` of them. `made` says of which runs its
    proof is: by defect, `sham` and `control`. `queries` are the named queries that its assertions use. `attempts` are
    all runs of the gate, where it was repeated because the host was slow; it is judged by the last of them.
    """

    name: str
    class_: str
    epic: str
    status: Status
    detail: str
    duration_s: float
    id: str
    severity: str
    title: str
    run_id: str | None
    assertions: list[AssertionReport]
    faults: list[FaultReport]
    defects: list[DefectReport]
    config: object
    evidence: dict[str, int]
    spec_sha256: str | None
    rerun: str
    proven: bool | None = None
    unproven: str | None = None
    missing_trials: int = 0
    made: dict[str, Made] = {}
    queries: dict[str, Named] = {}
    reasons: list[str] = []
    cause: Cause | None = None
    attempts: list[GateAttempt] = []


def statuses_of(gate: GateReport) -> list[Status]:
    """What each run of a gate came to, in their order."""
    return [attempt.status for attempt in gate.attempts] or [gate.status]


class Summary(Struct, frozen=True, kw_only=True, rename=yaml_name):
    """Counts over the gates of the release."""

    total: int
    fail: int
    skip: int
    missing: int
    unknown: int
    floor_total: int
    floor_pass: int
    delta_total: int
    delta_pass: int
    floor_regression: int
    pass_: int


class InvariantReport(Struct, frozen=True, kw_only=True):
    """Something about the release as a whole; `holds` is None where it was not measured."""

    id: str
    statement: str
    holds: bool | None
    detail: str


class AttemptReport(Struct, frozen=True, kw_only=True):
    """An earlier full run of the same source. `differs` names the inputs that were not the same as now."""

    session: str
    at: str
    ended: bool
    failed: list[str]
    unknown: list[str]
    differs: list[str] = []


class LedgerReport(Struct, frozen=True, kw_only=True):
    """The ledger of attempts that a release rests on, as it was.

    `named` is its file where one was named, None for the machine's own; `since` when its first run began, which is told by
    the digest of its first line as well. `lines` are how many it has, `head` the digest of the last one, `problem` what
    is wrong with it.
    """

    lines: int
    head: str
    problem: str | None
    named: str | None = None
    since: str | None = None
    first: str = ""


NO_LEDGER = LedgerReport(lines=0, head="", problem=None)


def ledger_limit(ledger: LedgerReport) -> str:
    """What a release does not know where no ledger was named."""
    return (
        f"attempts: this machine only, since {ledger.since or 'this run'}; what failed elsewhere is not known"
        " (`--ledger FILE` names a ledger that outlives the machine)"
    )


class WaiverReport(Struct, frozen=True, kw_only=True):
    """A signed wish to ship in spite of a gate. It is shown, and changes no verdict.

    `valid` says that it is signed by one of the release's keys and had not expired; `why` what it lacks.
    """

    file: str
    gate: str
    reason: str
    by: str
    expires: str
    valid: bool
    why: str | None


class MissingProofs(Struct, frozen=True, kw_only=True):
    """Trials of proofs that a release lacks: of which gates, how many, and the `command` that makes them.

    `about_s` is how many seconds that will take, from how long the gates themselves took.
    """

    gates: list[str]
    trials: int
    command: str
    about_s: float


class Report(Struct, frozen=True, kw_only=True):
    """The whole report. `inputs` are SHA-256 digests in hex; `elapsed_s` seconds of wall time.

    `reasons` say by name why gates are not what they were in the last release; `beside` are the reasons to hold that lie in
    no gate, no invariant and no missing proof; `place` is where it was put.

    `missing_proofs` is None where a release has all that it needs, and where none is decided.
    """

    schema_version: str
    version: str
    verdict: Literal["PROMOTE", "HOLD"]
    reason: str
    exit_code: int
    partial: bool
    timestamp: str
    elapsed_s: float
    summary: Summary
    invariants: list[InvariantReport]
    gates: list[GateReport]
    session: str
    commit: str | None
    dirty: bool
    seed: int
    workers: int
    inputs: dict[str, str]
    versions: dict[str, str]
    toxiproxy: object
    contract_version: str
    attempts: list[AttemptReport]
    limits: list[str]
    ledger: LedgerReport = NO_LEDGER
    waivers: list[WaiverReport] = []
    reasons: dict[str, str] = {}
    beside: list[str] = []
    place: str = ""
    missing_proofs: MissingProofs | None = None


def summarise(gates: Sequence[GateReport]) -> Summary:
    """Count."""

    def count(*statuses: str, among: str | None = None) -> int:
        return sum(gate.status in statuses and among in (None, gate.class_) for gate in gates)

    everything = ("PASS", "FAIL", "UNKNOWN", "SKIP", "MISSING")
    return Summary(
        total=len(gates),
        pass_=count("PASS"),
        fail=count("FAIL"),
        unknown=count("UNKNOWN"),
        skip=count("SKIP"),
        missing=count("MISSING"),
        floor_total=count(*everything, among="floor"),
        floor_pass=count("PASS", among="floor"),
        delta_total=count(*everything, among="delta"),
        delta_pass=count("PASS", among="delta"),
        floor_regression=count("FAIL", among="floor"),
    )


SOME_GATES: Final = "this run covers only some of the gates, so it decides no release"
NO_GATE: Final = "no gate was run"


def flaky_reason(flaky: Sequence[str]) -> str:
    """Why gates hold that pass now."""
    return f"flaky, failed before at the same inputs: {', '.join(flaky)}"


def decide(
    gates: Sequence[GateReport],
    invariants: Sequence[InvariantReport],
    flaky: Sequence[str],
    *,
    partial: bool,
    unknown: Sequence[str] = (),
    why: str = SOME_GATES,
) -> tuple[Literal["PROMOTE", "HOLD"], int, str]:
    """(verdict, exit code, reason). Nothing but a full run with everything measured and good is PROMOTE.

    `unknown` are reasons to hold a full run besides its gates and invariants, `why` is why another one decides nothing.
    """
    failed = [f"{gate.id} {gate.name}" for gate in gates if gate.status == "FAIL"]
    broken = [invariant.id for invariant in invariants if invariant.holds is False]
    if failed or flaky:
        reasons = [f"failed: {', '.join(failed)}"] if failed else []
        reasons += [flaky_reason(flaky)] if flaky else []
        return "HOLD", EXIT_FAILED, "; ".join(reasons)
    if not gates:
        return "HOLD", EXIT_UNKNOWN, NO_GATE
    unmeasured = [*_unmeasured(gates, invariants), *([] if partial else unknown)]
    if unmeasured:
        return "HOLD", EXIT_UNKNOWN, "; ".join(unmeasured)
    if broken:
        return "HOLD", EXIT_FAILED, f"invariants do not hold: {', '.join(broken)}"
    if partial:
        return "HOLD", EXIT_UNKNOWN, why
    return "PROMOTE", EXIT_PROMOTE, f"all {len(gates)} gates pass and every invariant holds"


def _unmeasured(gates: Sequence[GateReport], invariants: Sequence[InvariantReport]) -> list[str]:
    unknown = [f"{gate.id} {gate.name}" for gate in gates if gate.status == "UNKNOWN"]
    missing = sum(gate.status == "MISSING" for gate in gates)
    skipped = sum(gate.status == "SKIP" for gate in gates)
    open_ = [invariant.id for invariant in invariants if invariant.holds is None]
    parts = [f"unknown: {', '.join(unknown)}"] if unknown else []
    parts += [f"{missing} gates are missing"] if missing else []
    parts += [f"{skipped} gates were not run"] if skipped else []
    parts += [f"invariants were not measured: {', '.join(open_)}"] if open_ else []
    return parts


def absent(listed: ListedGate, status: Status, detail: str) -> GateReport:
    """The entry of a gate that has no run."""
    return GateReport(
        name=listed.gate,
        class_=listed.class_,
        epic=listed.id[0] if listed.class_ == "delta" else "",
        status=status,
        detail=detail,
        duration_s=0.0,
        id=listed.id,
        severity="blocker",
        title="",
        run_id=None,
        assertions=[],
        faults=[],
        defects=[],
        config={},
        evidence={},
        spec_sha256=None,
        rerun=rerun_command(listed.id),
    )


def rerun_command(gate_id: str, specs: str | None = None) -> str:
    """The command that runs one gate again: of this repository's own specs, or of those in another directory."""
    return f"nox -s gates -- {gate_id}" if specs is None else f"{_command(specs)} run {gate_id}"


def prove_command(specs: str | None = None) -> str:
    """The command that makes the proofs of a release, likewise."""
    return "nox -s prove" if specs is None else f"{_command(specs)} prove"


def _command(specs: str) -> str:
    return "python -m gates" if specs == "specs" else f"python -m gates --specs {specs}"


def invariants_of(
    release: Release,
    gates: Sequence[GateReport],
    *,
    uncommitted: str | None,
    same_inputs: str | None,
    contract: tuple[bool | None, str],
) -> list[InvariantReport]:
    """Each invariant of the release, decided by its check. `uncommitted` and `same_inputs` say what differs, if anything."""
    summary = summarise(gates)
    present = [gate for gate in gates if gate.status != "MISSING"]
    foreign = [
        gate.id for gate in present if gate.class_ == "delta" and gate.epic not in release.epics
    ]
    counted = summary.total == release.floor + release.delta and not summary.missing
    floor_failed = [gate.id for gate in gates if gate.class_ == "floor" and gate.status == "FAIL"]
    floor_open = summary.floor_pass < summary.floor_total
    decided: Mapping[str, tuple[bool | None, str]] = {
        "counts": (
            True if counted else None,
            f"{summary.total - summary.missing} of {summary.total} gates exist",
        ),
        "contract": contract,
        "floor": (
            False if floor_failed else None if floor_open else True,
            f"{summary.floor_pass} of {summary.floor_total} pass",
        ),
        "epics": (not foreign, f"outside: {', '.join(foreign)}" if foreign else "all within"),
        "same-digests": (same_inputs is None, same_inputs or "identical"),
        "clean-source": (uncommitted is None, uncommitted or "committed"),
        "pins": pins(
            release,
            {gate.name: gate.spec_sha256 for gate in gates if gate.class_ == "floor"},
        ),
    }
    return [
        InvariantReport(id=invariant.id, statement=invariant.statement, holds=holds, detail=detail)
        for invariant in release.invariants
        for holds, detail in [decided[invariant.check]]
    ]


def timestamp_of(ms: float) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(timespec="seconds")

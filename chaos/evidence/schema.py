"""The columns of every evidence table, declared once, as Structs.

The recorder writes these Structs as JSON lines, sealing turns them into typed tables with exactly
these columns, and the judge reads nothing else. This module imports nothing of the project, so that
the judge can share it without being able to reach a live system.

All times are milliseconds since the run's monotonic origin (`runs.epoch_ms` is the wall clock at that
origin). No two tables share the name of a time column: an unqualified name inside a subquery would
otherwise bind silently to the wrong table.
"""

import types
from collections.abc import Mapping
from functools import cache
from typing import Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct

Mode = Literal["healthy", "defect", "sham"]
StepOutcome = Literal["ok", "failed", "error", "skipped"]
RequestOutcome = Literal["ok", "error", "info"]
Direction = Literal["in", "out"]
Spoken = Literal["http", "websocket", "tls", "tcp"]
FrameKind = Literal["open", "text", "binary", "event", "comment", "close", "refused", "lost"]


class Row(Struct, frozen=True, kw_only=True):
    """What every row carries: whose run it belongs to and its place in the table."""

    run_id: str
    gate: str
    seq: int


class RunRow(Row, frozen=True, kw_only=True):
    """One run of one gate, written before the target starts.

    `digests` and `versions` are JSON objects of name → text; `config` is what the gate changed of the
    target's configuration; `planned` lists the ids of all steps that must have an ended row;
    `host` is the name of the machine, `attempt` counts the runs of one gate in one session.
    """

    mode: Mode
    defect: str | None
    target: str
    seed: int
    digests: Raw
    versions: Raw
    config: Raw
    planned: list[str]
    epoch_ms: float
    boot_id: str
    host: str
    worker: str
    attempt: int = 1


class RunEnd(Row, frozen=True, kw_only=True):
    """How a run ended; merged into `runs` when the evidence is sealed.

    The processor time is what its worker has spent, and what all that it started has: target, Toxiproxy and loads.
    """

    end_state: Literal["completed", "interrupted", "broken"]
    end_detail: str | None
    finished_ms: float
    clock_drift_ms: float
    harness_cpu_ms: float = 0.0
    started_cpu_ms: float = 0.0


class Step(Row, frozen=True, kw_only=True):
    """One step that has ended. `step` is its id in the gate (`scenario.0.meanwhile.1`)."""

    step: str
    kind: str
    name: str | None
    began_ms: float
    ended_ms: float
    outcome: StepOutcome
    detail: str | None
    iterations: int | None = None


class Request(Row, frozen=True, kw_only=True):
    """The intent of one request, written before its first byte is sent.

    `step` is the name of the step that sent it, or its id; `load` the name of its load. `request` is
    the JSON body that was sent (a body that is not JSON is a JSON string).
    """

    step: str
    load: str | None
    vars: Raw
    actor: str | None
    role: str | None
    method: str
    path: str
    route: str
    link: str | None
    process: str
    intended_ms: float
    sent_ms: float
    request: Raw


class Response(Row, frozen=True, kw_only=True):
    """The completion of the request with the same `seq`; merged into `requests` at sealing.

    `outcome` is `ok` for any HTTP answer, `error` when the request certainly did not reach the system
    (connection refused) and `info` when it may have been executed (no answer). `error` tells why there is none, or what
    is to be said of the answer that there is. `reused` says whether its connection had carried another request before,
    `close_framed` whether nothing but the end of the connection told where the answer ended.
    """

    status: int | None
    outcome: RequestOutcome
    error: str | None
    done_ms: float
    response: Raw
    headers: Raw
    reused: bool = False
    close_framed: bool = False


class Load(Row, frozen=True, kw_only=True):
    """One load: how many requests it planned, sent and saw answered, and how late it sent them."""

    load: str
    shape: Literal["rate", "clients", "burst"]
    planned: int
    sent: int
    done: int
    late_p99_ms: float
    load_began_ms: float
    load_ended_ms: float
    problem: str | None


class Frame(Row, frozen=True, kw_only=True):
    """One frame of a WebSocket, or of a stream of server-sent events, which has events and comments.

    `headers` are those that the opening was answered with; what refused it, or why the stream was lost, stands in `json`.
    `event` is an event's name, `event_id` the last id that was sent until then; `error` what is to be said of `json`.
    `link` is the link that the stream went over, `process` the process that it went to.
    """

    stream: str
    vars: Raw
    actor: str | None
    direction: Direction
    kind: FrameKind
    size: int
    code: int | None
    headers: Raw
    json: Raw
    frame_ms: float
    event: str | None = None
    event_id: str | None = None
    error: str | None = None
    link: str | None = None
    process: str = ""


class Fault(Row, frozen=True, kw_only=True):
    """One fault: when it was switched on, proven, asked off and seen gone again.

    One that `ends_connections` makes doubtful whether an answer that only the close ends was whole. `followed` says whether the
    kernel told what moved on connections that were open.
    """

    fault: str
    kind: str
    link: str
    direction: Literal["upstream", "downstream", "both"]
    attributes: Raw
    on_ms: float
    proven_ms: float | None
    off_ms: float | None
    clean_ms: float | None
    proven: bool
    own_before: int
    why: str | None
    ends_connections: bool = False
    followed: bool = False


class LinkProbe(Row, frozen=True, kw_only=True):
    """What one probe saw, through the link or directly. Times are durations from its start.

    It spoke `protocol`; `answer` is how the answer begins, one line of it at most, with escapes for what is no ASCII.
    """

    link: str
    path: Literal["link", "direct"]
    fault: str | None
    phase: Literal["before", "start", "end", "after"]
    connection: Literal["new", "established"]
    probed_ms: float
    connected_after_ms: float | None
    first_byte_after_ms: float | None
    last_byte_after_ms: float | None
    closed_after_ms: float | None
    received_bytes: int
    failure: str | None
    protocol: Spoken = "http"
    answer: str | None = None


class LinkConnection(Row, frozen=True, kw_only=True):
    """One client that Toxiproxy accepted on a link. `own` is true for the target's own traffic.

    It was accepted between `accepted_after_ms` and `connected_ms`, when Toxiproxy's log was read.
    """

    link: str
    client: str
    own: bool
    connected_ms: float
    accepted_after_ms: float | None = None


class LinkFlow(Row, frozen=True, kw_only=True):
    """What moved on one open connection of a link's own traffic between two looks, by the kernel's count at the proxy's end.

    Looked at is from just before the fault until it is proven, and from then to its end; of the connections the hundred
    that moved most. `sent_bytes` came from the client, `received_bytes` went to it, and the end of a connection is one of
    these. `ended` is one that was open at first and is no more.
    """

    link: str
    fault: str
    client: str
    sent_bytes: int
    received_bytes: int
    ended: bool
    flow_from_ms: float
    flow_to_ms: float


class LinkBypass(Row, frozen=True, kw_only=True):
    """A connection to a server's port that did not go through its link's proxy."""

    link: str
    client: str
    process: str | None
    bypass_ms: float


class Process(Row, frozen=True, kw_only=True):
    """One life of one process of the target.

    `ended_by` is `kill` for a signal of the gate, `teardown` for the end of the run, `asked` for an exit that a `start`
    waited for, and `itself` for one that nobody asked for.
    """

    process: str
    pid: int
    parent: int
    started_ms: float
    ready_ms: float | None
    exited_ms: float
    exit: int | None
    ended_by: Literal["itself", "asked", "kill", "teardown"]
    output: str


class ProcessSample(Row, frozen=True, kw_only=True):
    """One look at a process with all that came of it, as one.

    The scheduler's letter is that of the most awake; processor time since the start, resident bytes and open descriptors are sums.
    """

    watch: str
    process: str
    pid: int
    sampled_ms: float
    state: str
    cpu_ms: float
    rss_bytes: int
    descriptors: int


class Socket(Row, frozen=True, kw_only=True):
    """One listening socket of a process of the target, or of what came of it, which `pid` is.

    `watch` is NULL for one on the port of a process that was listened on when all that may listen there had ended.
    """

    watch: str | None
    process: str
    pid: int
    address: str
    port: int
    socket_ms: float


class Hammer(Row, frozen=True, kw_only=True):
    """Connection attempts to a process's own port, from before it was started."""

    hammer: str
    vars: Raw
    process: str
    port: int
    tries: int
    accepted: int
    hammer_began_ms: float
    hammer_ended_ms: float
    accepted_ms: float | None


class Hold(Row, frozen=True, kw_only=True):
    """The write lock of a database, held from outside between `held_ms` and `released_ms`.

    `proven` says that nobody else could take it, neither when it had just been taken nor just before it was given back.
    """

    hold: str
    vars: Raw
    file: str
    held_ms: float | None
    released_ms: float | None
    proven: bool
    why: str | None


class DiskOperation(Row, frozen=True, kw_only=True):
    """What a process that was started with `disk` did to its database; `dropped` is what a `kill` then took away of it.

    `part` is `main`, `wal` or `journal`. A write is stamped before it was made, a sync when it was over.
    """

    process: str
    part: str
    did: str
    at_byte: int
    bytes: int
    disk_ms: float


class Command(Row, frozen=True, kw_only=True):
    """A command that was run, or a process that was started and exited during `start`."""

    step: str
    vars: Raw
    argv: list[str]
    exit: int | None
    output: str
    errors: str
    command_began_ms: float
    command_ended_ms: float


class QueryRow(Row, frozen=True, kw_only=True):
    """One row of a `query` or of a `watch` with SQL; `snapshot` counts the looks."""

    query: str
    vars: Raw
    snapshot: int
    row: Raw
    queried_ms: float


class Unchanged(Row, frozen=True, kw_only=True):
    """One table or file of the stopped target, before and after the steps of an `unchanged`.

    `before` and `after` tell rows, sort, mode and SHA-256 in one text; NULL is what was not there.
    """

    step: str
    vars: Raw
    kind: Literal["table", "file"]
    item: str
    before: str | None
    after: str | None


class Secret(Row, frozen=True, kw_only=True):
    """A secret that was seen where the target let it out, before it was redacted.

    `secret` is the variable that holds it, or the label of who used it; NULL for what only looks like one. `found_in`
    is a table, `found_at` its column and `found_seq` its row, or `output` or `files` (at the end) and a file there.
    """

    secret: str | None
    found_in: str
    found_at: str
    found_seq: int | None


class Closing(Row, frozen=True, kw_only=True):
    """Written last: how many lines each file of the run has, and their SHA-256."""

    file: str
    lines: int
    sha256: str


class Link(Row, frozen=True, kw_only=True):
    """What a link carried in a link check, with all being well."""

    link: str
    own_connections: int
    of_harness: bool
    sent_bytes: int
    received_bytes: int


TABLES: Mapping[str, type[Row]] = {
    "runs": RunRow,
    "run_ends": RunEnd,
    "steps": Step,
    "requests": Request,
    "responses": Response,
    "loads": Load,
    "frames": Frame,
    "faults": Fault,
    "link_probes": LinkProbe,
    "link_connections": LinkConnection,
    "link_flows": LinkFlow,
    "link_bypasses": LinkBypass,
    "links": Link,
    "processes": Process,
    "process_samples": ProcessSample,
    "sockets": Socket,
    "hammers": Hammer,
    "holds": Hold,
    "disk_operations": DiskOperation,
    "commands": Command,
    "rows": QueryRow,
    "unchanged": Unchanged,
    "secrets": Secret,
    "closings": Closing,
}
"""Raw files by table name: what is appended while a gate runs."""

MERGED: Mapping[str, str] = {"runs": "run_ends", "requests": "responses"}
"""Tables whose second half arrives later: sealing joins it by (run_id, gate) or (run_id, gate, seq)."""

DERIVED: Mapping[str, Mapping[str, str]] = {
    "requests": {
        "latency_ms": "DOUBLE",
        "service_ms": "DOUBLE",
        "during": "VARCHAR[]",
        "touched": "VARCHAR[]",
    }
}
"""Columns that sealing computes: latency from the intended start, service time from the real one, and
the faults a request was wholly inside of (`during`) or overlapped at all (`touched`)."""

SEALS: Mapping[str, str] = {
    "run_id": "VARCHAR",
    "gate": "VARCHAR",
    "file": "VARCHAR",
    "lines": "BIGINT",
    "sha256": "VARCHAR",
    "problem": "VARCHAR",
}
"""One row per file of a run: what was found in it, and in what it differs from its closing record."""

DIGESTS: Mapping[str, str] = {
    "run_id": "VARCHAR",
    "gate": "VARCHAR",
    "sealed_table": "VARCHAR",
    "row_count": "BIGINT",
    "digest": "VARCHAR",
}
"""One row per table and run that has rows, over everything in them."""

ANSWERS: Mapping[str, tuple[str, ...]] = {
    "requests": ("status", "response", "headers"),
    "commands": ("exit", "output", "errors"),
}
"""Columns that hold what an answer said, and are not known of a row that has none."""

ANSWERED: Mapping[str, str] = {"requests": "outcome = 'ok'", "commands": '"exit" IS NOT NULL'}
"""The rows that have an answer. Times, `during`, `touched`, `outcome` and `error` are observed of every row."""

COMMON = ("run_id", "gate", "seq")

COLLECTED_PREFIX = "collected."
"""Begins the names of raw files of tables that a target declares."""

TYPES: Mapping[object, str] = {
    str: "VARCHAR",
    int: "BIGINT",
    float: "DOUBLE",
    bool: "BOOLEAN",
    Raw: "JSON",
    list[str]: "VARCHAR[]",
}

COLLECTED_TYPES = ("VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "JSON")
"""Column types that a target may declare for the tables it collects."""


def _sql_type(hint: object) -> str:
    if hint in TYPES:
        return TYPES[hint]
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = [arg for arg in get_args(hint) if arg is not type(None)]
        return _sql_type(inner)
    if get_origin(hint) is Literal:
        return "VARCHAR"
    raise TypeError(f"no column type for {hint!r}")


def raw_columns(table: str) -> dict[str, str]:
    """Column name → DuckDB type of one raw file, common columns first."""
    return dict(_columns_of(TABLES[table]))


@cache
def _columns_of(struct: type[Row]) -> Mapping[str, str]:
    hints = get_type_hints(struct)
    return {field.name: _sql_type(hints[field.name]) for field in msgspec.structs.fields(struct)}


def sealed_columns(table: str) -> dict[str, str]:
    """Column name → DuckDB type of a sealed table, as the judge sees it."""
    columns = raw_columns(table)
    if table in MERGED:
        columns |= {k: v for k, v in raw_columns(MERGED[table]).items() if k not in COMMON}
    return columns | dict(DERIVED.get(table, {}))


@cache
def admissible(table: str) -> Mapping[str, tuple[bool, tuple[str, ...]]]:
    """Column → whether it may be NULL, and the words that it may hold where these are known.

    What the harness always fills is never NULL; a second half may never come. JSON may be `null`, but for variables.
    """
    if table not in TABLES:
        return {}
    known = {name: _admissible(hint) for name, hint in get_type_hints(TABLES[table]).items()}
    if table in MERGED:
        later = get_type_hints(TABLES[MERGED[table]])
        known |= {n: (True, _admissible(h)[1]) for n, h in later.items() if n not in known}
    known |= {name: (kind == "DOUBLE", ()) for name, kind in DERIVED.get(table, {}).items()}
    known |= {name: (False, known[name][1]) for name in ("vars", "outcome") if name in known}
    return known


def _admissible(hint: object) -> tuple[bool, tuple[str, ...]]:
    if hint is Raw:
        return True, ()
    if get_origin(hint) is Literal:
        return False, tuple(str(word) for word in get_args(hint))
    optional = get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)
    return optional, ()


def sealed_tables() -> tuple[str, ...]:
    """Names of the tables that are shipped: the raw ones less the second halves."""
    return tuple(name for name in TABLES if name not in MERGED.values())


def collected_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """Columns of a collected table as sealed: the common ones, then those its target declares, by name."""
    common = {"run_id": "VARCHAR", "gate": "VARCHAR", "seq": "BIGINT"}
    return common | dict(sorted(columns.items()))


OUTSIDE = (
    "requests",
    "frames",
    "hammers",
    "commands",
    "rows",
    "unchanged",
    "processes",
    "process_samples",
    "sockets",
    "loads",
    "secrets",
)
"""Tables that are observed from outside the system under test, never supplied by it alone."""

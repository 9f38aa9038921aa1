"""Incidents as SONIA exports them, made by DuckDB: the same arguments give the same bytes.

A minute of a gateway whose model process is cut off for the middle third: turns fail, then the stream is shed and turns are refused,
degrade mode is entered and left. Ten times as many requests are ten times as many in the same minute.
"""

import hashlib
import re
from pathlib import Path

import duckdb
import msgspec

BEGAN_MS = 1_795_996_800_000
"""2026-11-30T00:00:00Z."""
LASTS_MS = 60_000
DECISIONS_OF_TEN = 73
"""About how many decisions there are to ten requests."""

_REQUESTS = """
CREATE TEMP TABLE drawn AS
SELECT
    i,
    format('{}-{:012d}', $incident, i) AS request_id,
    $began + (i * $lasts / $requests)::DOUBLE AS began_ms,
    i * 3 // $requests = 1 AS cut,
    hash(i, $seed) % 100 AS draw,
    500 + hash(i, $seed, 'took') % 1500 AS took,
    CASE WHEN i % 10 = 9 THEN 'task' WHEN i % 10 >= 6 THEN 'frame' ELSE 'http' END AS kind,
    i % 10 = 5 AS is_tool
FROM range($requests) AS numbers(i);

CREATE TEMP TABLE walked AS
SELECT
    *,
    CASE
        WHEN kind = 'task' THEN 'completed'
        WHEN NOT is_tool AND draw < 4 THEN 'rejected'
        WHEN cut AND kind = 'frame' AND draw < 60 THEN 'shed'
        WHEN cut AND NOT is_tool AND draw >= $broken THEN 'failed'
        WHEN is_tool AND draw >= 98 THEN 'unknown'
        ELSE 'completed'
    END AS outcome
FROM drawn;

CREATE TEMP TABLE staged AS
SELECT
    *,
    list_filter([
        ['authenticate', CASE WHEN outcome = 'rejected' THEN 'refused' ELSE 'admitted' END, CASE WHEN outcome = 'rejected' THEN 'token_expired' ELSE '' END],
        CASE WHEN outcome <> 'rejected' THEN ['authorize', 'admitted', ''] END,
        CASE WHEN outcome <> 'rejected' THEN ['admit', CASE WHEN outcome = 'shed' THEN 'shed' ELSE 'admitted' END, CASE WHEN outcome = 'shed' THEN 'over_budget' ELSE '' END] END,
        CASE WHEN outcome NOT IN ('rejected', 'shed') AND kind <> 'task' THEN ['session', 'found', ''] END,
        CASE WHEN outcome NOT IN ('rejected', 'shed') AND NOT is_tool THEN ['memory', 'answered', ''] END,
        CASE WHEN outcome NOT IN ('rejected', 'shed') AND NOT is_tool THEN
            ['model', CASE WHEN outcome = 'failed' THEN 'unavailable' ELSE 'answered' END, CASE WHEN outcome = 'failed' THEN 'model_unavailable' ELSE '' END] END,
        CASE WHEN is_tool THEN ['policy', 'allowed', ''] END,
        CASE WHEN is_tool THEN ['tool', CASE WHEN outcome = 'unknown' THEN 'unknown' ELSE 'done' END, ''] END,
        CASE WHEN outcome IN ('completed', 'unknown') THEN ['commit', 'committed', ''] END,
        ['outcome', outcome, CASE outcome WHEN 'rejected' THEN 'unauthenticated' WHEN 'failed' THEN 'model_unavailable' ELSE '' END]
    ], lambda stage: stage IS NOT NULL) AS stages
FROM walked;

CREATE TEMP TABLE timed AS
SELECT *, list_transform(stages, lambda stage: CASE stage[1]
    WHEN 'model' THEN took * CASE WHEN cut AND kind <> 'task' THEN 2500 ELSE 60 END
    WHEN 'memory' THEN took * 3
    WHEN 'tool' THEN took * 40
    ELSE took // 20
END::BIGINT) AS spent
FROM staged;

CREATE TEMP VIEW decisions AS
SELECT
    request_id,
    n - 1 AS n,
    stages[n][1] AS stage,
    stages[n][2] AS decision,
    stages[n][3] AS reason,
    coalesce(list_sum(spent[:n - 1]), 0)::BIGINT AS began_us,
    spent[n] AS took_us,
    began_ms + coalesce(list_sum(spent[:n - 1]), 0) / 1000 AS at_ms,
    CASE WHEN stages[n][1] IN ('memory', 'model', 'tool')
        THEN [{'kind': stages[n][1], 'value': {'text': 'what was answered to ' || request_id, 'took_ms': spent[n] / 1000}}]
        ELSE []
    END AS inputs
FROM (SELECT *, unnest(range(1, len(stages) + 1)) AS n FROM timed);

CREATE TEMP VIEW requests AS
SELECT
    request_id,
    began_ms,
    kind,
    CASE kind WHEN 'http' THEN 'POST' ELSE '' END AS method,
    CASE WHEN kind = 'task' THEN '' WHEN kind = 'frame' THEN '/v1/stream' WHEN is_tool THEN '/v1/tools/file.write/execute' ELSE '/v1/turn' END AS route,
    CASE WHEN outcome = 'rejected' THEN '' ELSE format('tok-{}', i % 3) END AS actor_id,
    CASE WHEN outcome = 'rejected' THEN '' ELSE 'operator' END AS role,
    CASE WHEN kind = 'frame' THEN 'stream' WHEN is_tool THEN 'tool' WHEN kind = 'http' THEN 'model' END AS queue,
    {'text': 'question ' || i % 50} AS envelope,
    outcome,
    CASE outcome WHEN 'completed' THEN 200 WHEN 'rejected' THEN 401 WHEN 'shed' THEN 503 WHEN 'unknown' THEN 504 ELSE 502 END AS status,
    CASE outcome WHEN 'rejected' THEN 'unauthenticated' WHEN 'failed' THEN 'model_unavailable' WHEN 'shed' THEN 'shed' ELSE '' END AS code,
    list_sum(spent)::BIGINT AS took_us,
    sha256(to_json(stages)::VARCHAR) AS trace_class
FROM timed;
"""

_EVENTS = """
CREATE TEMP VIEW events AS
SELECT $began + $lasts * part AS at_ms, event, name, detail FROM (VALUES
    (0.0, 'process', 'model', '{"state":"up"}'),
    (0.35, 'breaker', 'model', '{"from":"closed","to":"open"}'),
    (0.4, 'slo', 'turns', '{"mode":"degraded"}'),
    (0.69, 'breaker', 'model', '{"from":"half_open","to":"closed"}'),
    (0.8, 'slo', 'turns', '{"mode":"normal"}')
) AS listed(part, event, name, detail)
UNION ALL
SELECT $began + 1000.0 * second, 'queue', queue, format('{{"depth":{}}}', hash(second, queue, $seed) % 20)
FROM range($lasts // 1000) AS seconds(second), (VALUES ('stream'), ('tool'), ('model')) AS queues(queue);
"""


def write_incident(
    directory: Path,
    *,
    requests: int = 300,
    seed: int = 46,
    broken: int = 60,
    incident_id: str | None = None,
) -> Path:
    """Write a bundle; of a hundred turns without a model those fail whose draw is from `broken` on."""
    directory.mkdir(parents=True)
    incident = incident_id or directory.name
    given = {
        "$requests": str(requests),
        "$seed": str(seed),
        "$broken": str(broken),
        "$began": str(BEGAN_MS),
        "$lasts": str(LASTS_MS),
        "$incident": "'r'",
    }
    with duckdb.connect(":memory:") as connection:
        connection.execute(re.sub(r"\$\w+", lambda name: given[name[0]], _REQUESTS + _EVENTS))
        counts = {}
        for table, rows in (
            ("requests", "* FROM requests"),
            ("decisions", "* FROM decisions"),
            (
                "events",
                "* REPLACE (detail::JSON AS detail) FROM events ORDER BY at_ms, event, name",
            ),
        ):
            path = str(directory / f"{table}.jsonl").replace("'", "''")
            copy = f"COPY (SELECT {rows}) TO '{path}' (FORMAT json)"
            ((counts[table],),) = connection.execute(copy).fetchall()
    config = {"slo": {"threshold_ms": 2000.0, "quantile": 0.95}, "breaker": {"open_for_s": 5.0}}
    (directory / "config.json").write_bytes(msgspec.json.encode(config))
    seal(directory, incident, counts)
    return directory


def seal(directory: Path, incident_id: str, counts: dict[str, int], **changes: object) -> None:
    """Write the manifest of what is there; `changes` are other values in it."""
    manifest = {
        "format": 1,
        "incident_id": incident_id,
        "created_at_ms": BEGAN_MS + LASTS_MS + 500,
        "from_ms": BEGAN_MS,
        "to_ms": BEGAN_MS + LASTS_MS,
        "reason": "degraded",
        "versions": {"sonia": "4.6.0", "contract": "v4.5.0"},
        "counts": counts,
        "files": {
            path.name: {"sha256": digest_of(path), "bytes": path.stat().st_size}
            for path in sorted(directory.iterdir())
            if path.name != "manifest.json"
        },
    }
    document = msgspec.json.format(msgspec.json.encode(manifest | changes), indent=2)
    (directory / "manifest.json").write_bytes(document + b"\n")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, which may be large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

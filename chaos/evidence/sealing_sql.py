"""The SQL of sealing: from files of JSON lines to rows of typed tables. Pure text, nothing is run here."""

# ruff: noqa: S608 - SQL is what this module makes; every name and text in it is quoted by `quoted` and `literal`

from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos.answers import CUT_SHORT

SCHEMA = "evidence"

NOTICED_WITHIN_MS = 100
"""How much later than its connections end the end of a process may be noticed."""


def quoted(identifier: str) -> str:
    """An identifier, quoted."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A text literal."""
    return "'" + value.replace("'", "''") + "'"


def stored(table: str) -> str:
    """The full name of an evidence table."""
    return f"{SCHEMA}.{quoted(table)}"


def create(table: str, columns: Mapping[str, str]) -> str:
    """The statement that makes an empty typed table."""
    return f"CREATE TABLE {stored(table)} ({', '.join(f'{quoted(c)} {kind}' for c, kind in columns.items())})"


def replace(table: str, columns: Mapping[str, str], rows: str) -> str:
    """The statement that makes a table anew from `rows`, with exactly these columns and types."""
    return f"CREATE OR REPLACE TABLE {stored(table)} AS {typed(columns, rows)}"


def typed(columns: Mapping[str, str], rows: str) -> str:
    """`rows` with exactly these columns and types."""
    chosen = ", ".join(
        f"{quoted(column)}::{kind} AS {quoted(column)}" for column, kind in columns.items()
    )
    return f"SELECT {chosen} FROM ({rows})"


def digest(table: str) -> str:
    """Row count and digest per run, from nothing but the table: exclusive or of the MD5 of every row as JSON with its place."""
    return (
        "SELECT t.run_id, t.gate, count(*),"
        " bit_xor(md5_number(concat(t.rowid - f.first, ' ', to_json(t)::VARCHAR)))::VARCHAR"
        f" FROM {stored(table)} AS t JOIN"
        f" (SELECT run_id, gate, min(rowid) AS first FROM {stored(table)} GROUP BY run_id, gate) AS f"
        " ON t.run_id IS NOT DISTINCT FROM f.run_id AND t.gate IS NOT DISTINCT FROM f.gate"
        " GROUP BY t.run_id, t.gate"
    )


def collected_column(column: str, kind: str) -> str:
    """A collected column in its declared type: databases keep booleans as 0 and 1, and JSON as text."""
    name = quoted(column)
    if kind == "BOOLEAN":
        return f"({name}->>'$')::BOOLEAN AS {name}"
    if kind == "JSON":
        unwrapped = f"{name}->>'$'"
        looks_like = (
            f"json_type({name}) = 'VARCHAR' AND regexp_matches({unwrapped}, '^\\s*[\\[{{]')"
        )
        return f"CASE WHEN {looks_like} AND json_valid({unwrapped}) THEN ({unwrapped})::JSON ELSE {name} END AS {name}"
    return name


def reader(paths: Sequence[Path], columns: Mapping[str, str], *, lenient: bool = False) -> str:
    """The rows of some files. A lenient reader gives NULLs for a line that it cannot read."""
    listed = ", ".join(literal(str(path)) for path in paths)
    declared = ", ".join(f"{literal(column)}: {literal(kind)}" for column, kind in columns.items())
    return (
        f"SELECT * FROM read_json([{listed}], columns = {{{declared}}}, format = 'newline_delimited',"
        f" ignore_errors = {str(lenient).lower()})"
    )


def lines(columns: Mapping[str, str], text: str) -> str:
    """The rows of JSON lines that an SQL text holds: what `reader` makes of a file of them."""
    fields = ", ".join(f'"{column}": {_shape(kind)}' for column, kind in columns.items())
    shape = literal(f"{{{fields}}}")
    line = f"SELECT unnest(string_split({text}, chr(10))) AS line"
    return (
        f"SELECT row.* FROM (SELECT from_json(line, {shape}) AS row FROM ({line}) WHERE line <> '')"
    )


def _shape(kind: str) -> str:
    return f'["{kind[:-2]}"]' if kind.endswith("[]") else f'"{kind}"'


def source(
    text: str,
    whole: Sequence[Path],
    damaged: Sequence[tuple[Path, str, str]],
    columns: Mapping[str, str],
) -> str:
    """The rows of one table: of a text, of all files, and of a damaged one (path, run_id, gate) those that are the run's own."""
    parts = [lines(columns, literal(text))] if text else []
    parts += [reader(whole, columns)] if whole else []
    parts += [
        f"{reader([path], columns, lenient=True)} WHERE seq IS NOT NULL"
        f" AND run_id = {literal(run_id)} AND gate = {literal(gate)}"
        for path, run_id, gate in damaged
    ]
    empty = ", ".join(f"NULL::{kind} AS {quoted(column)}" for column, kind in columns.items())
    return " UNION ALL ".join(parts) or f"SELECT {empty} LIMIT 0"


def in_order(rows: str, chosen: Sequence[str] = ("*",)) -> str:
    """Rows in order of gate, run and `seq`, which is the order they are kept in."""
    return f"SELECT {', '.join(chosen)} FROM ({rows}) ORDER BY gate, run_id, seq"


def merged(table: str, first: str, second: str, *, with_faults: bool) -> str:
    """The rows of a table whose second half came later."""
    if table == "runs":
        return runs(first, second)
    return requests(first, second, with_faults=with_faults)


def runs(first: str, second: str) -> str:
    """Runs with their ends; a run without one stays, its columns NULL."""
    return in_order(
        f"SELECT a.*, b.* EXCLUDE (run_id, gate, seq) FROM ({first}) AS a"
        f" LEFT JOIN ({second}) AS b ON a.run_id = b.run_id AND a.gate = b.gate"
    )


def requests(first: str, second: str, *, with_faults: bool) -> str:
    """Requests with their answers and the faults they met; one without an answer may have been executed."""
    joined = (
        "SELECT a.*, b.* EXCLUDE (run_id, gate, seq, outcome), coalesce(b.outcome, 'info') AS outcome,"
        " b.done_ms - a.intended_ms AS latency_ms, b.done_ms - a.sent_ms AS service_ms"
        f" FROM ({first}) AS a LEFT JOIN ({second}) AS b"
        " ON a.run_id = b.run_id AND a.gate = b.gate AND a.seq = b.seq"
    )
    if not with_faults:
        none = "[]::VARCHAR[]"
        return in_order(joined, ("*", f"{none} AS during", f"{none} AS touched"))
    return f"WITH joined AS ({joined}), met AS ({_MET}), died AS ({_DIED}) {_WITH_MET}"


_MET = f"""
SELECT r.run_id, r.gate, r.seq,
  bool_or(r.close_framed AND f.ends_connections AND f.proven AND f.link = r.link) AS cut,
  list(DISTINCT f.fault ORDER BY f.fault) FILTER (WHERE r.sent_ms >= f.proven_ms AND r.done_ms <= f.off_ms) AS during,
  list(DISTINCT f.fault ORDER BY f.fault) AS touched
FROM joined AS r JOIN {SCHEMA}.faults AS f ON r.run_id = f.run_id AND r.gate = f.gate
  AND r.sent_ms <= coalesce(f.clean_ms, 'infinity'::DOUBLE) AND coalesce(r.done_ms, 'infinity'::DOUBLE) >= f.on_ms
GROUP BY r.run_id, r.gate, r.seq
"""

_DIED = f"""
SELECT DISTINCT r.run_id, r.gate, r.seq, true AS cut
FROM joined AS r JOIN {SCHEMA}.processes AS p ON r.run_id = p.run_id AND r.gate = p.gate AND r.process = p.process
WHERE r.close_framed AND p.ended_by <> 'teardown' AND p.exited_ms BETWEEN r.sent_ms AND r.done_ms + {NOTICED_WITHIN_MS}
"""

_WITH_MET = f"""
SELECT * EXCLUDE (doubtful) REPLACE (
  CASE WHEN doubtful THEN NULL ELSE status END AS status,
  CASE WHEN doubtful THEN NULL ELSE response END AS response,
  CASE WHEN doubtful THEN 'info' ELSE outcome END AS outcome,
  CASE WHEN doubtful THEN {literal(CUT_SHORT)} ELSE error END AS error
)
FROM (
  SELECT joined.*, coalesce(met.during, []) AS during, coalesce(met.touched, []) AS touched,
    joined.outcome = 'ok' AND (coalesce(met.cut, false) OR coalesce(died.cut, false)) AS doubtful
  FROM joined LEFT JOIN met USING (run_id, gate, seq) LEFT JOIN died USING (run_id, gate, seq)
)
ORDER BY gate, run_id, seq
"""

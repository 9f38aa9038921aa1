"""Puts the rows of one run into tables without going through files, for a verdict right after the run.

One prepared statement per table takes the rows as they were read, instead of two dozen that read files. The rows are
those that sealing gives, which tests hold together; whatever is not plain is left to sealing itself.
"""

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import duckdb
import msgspec

from chaos.evidence import schema
from chaos.evidence import sealing_sql as sql
from chaos.evidence.sealing import Rows

MOST_BYTES: Final = 256 * 1024
"""Beyond this, reading files is no more expensive than passing texts."""

_LONG_NUMBER = re.compile(rb"[:,\[]\s*-?[0-9]{19}")
_ELSEWHERE = frozenset({"faults", "loads"})


def is_plain(files: Sequence[Rows]) -> bool:
    """Whether a run's rows, as they were read, are the ones that sealing gives.

    Files may differ from what was closed, which is told apart from their rows. Faults and loads are judged by several
    tables together, and a number of 19 digits may be more than a column can hold.
    """
    counts = dict.fromkeys(("runs", "run_ends"), 0)
    for file in files:
        if (
            file.damaged
            or file.table in _ELSEWHERE
            or file.path.name.startswith(schema.COLLECTED_PREFIX)
        ):
            return False
        if _LONG_NUMBER.search(file.data):
            return False
        if file.table in counts:
            counts[file.table] += len(file.rows)
    small = sum(len(file.data) for file in files) <= MOST_BYTES
    return small and counts["runs"] == 1 and counts["run_ends"] <= 1


class Direct:
    """Temporary tables of one connection, named like those of the evidence, each made when it is first filled."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._made: set[str] = set()

    def fill(self, table: str, files: Sequence[Rows]) -> None:
        """Replace the rows of a table by those of a plain run. duckdb.Error when a line cannot be read."""
        if table not in self._made:
            self._make(table)
        self.connection.execute(f"TRUNCATE temp.{sql.quoted(table)}")
        self.connection.execute(f"EXECUTE {_statement(table)}({_array(table, files)})")

    def _make(self, table: str) -> None:
        columns = schema.sealed_columns(table)
        declared = ", ".join(f"{sql.quoted(name)} {kind}" for name, kind in columns.items())
        name = sql.quoted(table)
        self.connection.execute(f"CREATE TEMP TABLE {name} ({declared})")
        self.connection.execute(
            # Only when the type of the parameter is known is the statement not planned again each time.
            f"PREPARE {_statement(table)} AS INSERT INTO temp.{name} {sql.lines(columns, '$1::VARCHAR')}"
        )
        self._made.add(table)


def source(table: str, files: Sequence[Rows], columns: Sequence[str]) -> str:
    """SQL for some columns of a plain run's rows, for looking at them once."""
    kinds = schema.sealed_columns(table)
    return sql.lines({name: kinds[name] for name in columns}, _array(table, files))


def _array(table: str, files: Sequence[Rows]) -> str:
    """All rows of a table as one text of SQL, a JSON array."""
    rows = _merged(table, files) if table in schema.MERGED else _lines(table, files)
    return sql.literal(f"[{rows.decode()}]")


def _statement(table: str) -> str:
    return sql.quoted(f"fill {table}")


def in_order(table: str, files: Sequence[Rows]) -> list[schema.Row]:
    """The rows of a table, in order of `seq`."""
    rows = [row for file in files if file.table == table for row in file.rows]
    return sorted(rows, key=attrgetter("seq"))


def _lines(table: str, files: Sequence[Rows]) -> bytes:
    return b",".join(msgspec.json.encode(row) for row in in_order(table, files))


def _merged(table: str, files: Sequence[Rows]) -> bytes:
    """Rows with their second halves; where there is none, its columns are left out, which makes them NULL."""
    second = in_order(schema.MERGED[table], files)
    by_seq = {row.seq if table == "requests" else 0: row for row in second}
    found = []
    for row in in_order(table, files):
        other = by_seq.get(row.seq if table == "requests" else 0)
        merged = msgspec.structs.asdict(row)
        if other is not None:
            merged = msgspec.structs.asdict(other) | merged
        if isinstance(row, schema.Request):
            assert other is None or isinstance(other, schema.Response)
            merged |= _derived(row, other)
        found.append(msgspec.json.encode(merged))
    return b",".join(found)


def _derived(request: schema.Request, response: schema.Response | None) -> dict[str, object]:
    """What sealing computes; a request without an answer may have been executed."""
    met: dict[str, object] = {"during": [], "touched": []}
    if response is None:
        return met | {"outcome": "info"}
    return met | {
        "latency_ms": response.done_ms - request.intended_ms,
        "service_ms": response.done_ms - request.sent_ms,
    }

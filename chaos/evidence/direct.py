"""Puts the rows of one run into tables without going through files, for a verdict right after the run.

Statements are prepared once; a run that is small and whole then costs two of them instead of two dozen. The rows are
those that sealing gives, since both are made by the same SQL from the same lines; whatever is not plain is left
to sealing itself.
"""

import re
from collections.abc import Sequence
from typing import Final

import duckdb

from chaos.evidence import schema
from chaos.evidence import sealing_sql as sql
from chaos.evidence.sealing import COLLECTED_PREFIX, Rows

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
        if file.damaged or file.table in _ELSEWHERE or file.path.name.startswith(COLLECTED_PREFIX):
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
        halves = [table, *([schema.MERGED[table]] if table in schema.MERGED else [])]
        given = [_array(files, half) for half in halves]
        if given[0] != "[]":
            texts = ", ".join(map(sql.literal, given))
            self.connection.execute(f"EXECUTE {_statement(table)}({texts})")

    def _make(self, table: str) -> None:
        columns = schema.sealed_columns(table)
        declared = ", ".join(f"{sql.quoted(name)} {kind}" for name, kind in columns.items())
        name = f"temp.{sql.quoted(table)}"
        self.connection.execute(f"CREATE TEMP TABLE {sql.quoted(table)} ({declared})")
        rows = sql.lines(1, schema.raw_columns(table))
        if table in schema.MERGED:
            second = sql.lines(2, schema.raw_columns(schema.MERGED[table]))
            rows = sql.merged(table, rows, second, with_faults=False)
        else:
            rows = sql.in_order(rows)
        self.connection.execute(
            f"PREPARE {_statement(table)} AS INSERT INTO {name} {sql.typed(columns, rows)}"
        )
        self._made.add(table)


def _statement(table: str) -> str:
    return sql.quoted(f"fill {table}")


def _array(files: Sequence[Rows], table: str) -> str:
    """All lines of a table as one JSON array."""
    lines = [
        line for file in files if file.table == table for line in file.data.split(b"\n") if line
    ]
    return f"[{b','.join(lines).decode()}]"

"""Puts one run's rows where a gate's SQL finds them, under the names that it uses."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import duckdb
import msgspec
from msgspec import Struct

from gates.judge import drafts, tables
from gates.judge.connection import Evidence, RunKey, details_of
from gates.judge.plan import GatePlan, QueryPlan, evidence_tables
from gates.judge.problem import Problem, Source
from gates.judge.watchdog import Watchdog

_DATA_TYPES: Mapping[type, str] = {str: "VARCHAR", bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE"}


_WATCHDOG = Watchdog()


class Counts(Struct, frozen=True):
    """How many rows a query gives, and how many distinct ones."""

    rows: int
    distinct: int


class Table(Struct, frozen=True):
    """The rows of one run in an evidence table: `rows` is SQL for the `columns` that the gate needs, `whole` for all.

    Where they are read more than once they are kept, and lie in a temporary table of the same name.
    """

    columns: list[str]
    rows: str
    whole: str
    kept: bool


class Bound(Struct, frozen=True):
    """What is there to be read.

    `connection` sees it under its names. `columns` are those of every relation, with their types; `tables` are the
    tables of evidence; `broken` says what went wrong with a relation, `counts` are of the queries.
    """

    connection: duckdb.DuckDBPyConnection
    columns: dict[str, dict[str, str]]
    tables: dict[str, Table]
    broken: dict[str, str]
    problems: list[Problem]
    counts: dict[str, Counts]

    def is_unique(self, name: str) -> bool:
        """Whether a query is known to give no row twice."""
        counts = self.counts.get(name)
        return counts is not None and counts.rows == counts.distinct


@contextmanager
def bound(
    evidence: Evidence, plan: GatePlan, run: RunKey | None, limit_s: float = math.inf
) -> Iterator[Bound]:
    """One run's rows of the tables that the plan reads, its `data:` and its queries; empty tables without a run.

    A relation that cannot be made is reported in `broken` and `problems`. What is made is gone with its connection,
    whose SQL is interrupted after `limit_s`: a join of everything with everything must not hang a release.
    """
    with (
        closing(evidence.connection.cursor()) as connection,
        _WATCHDOG.watch(limit_s, connection.interrupt),
    ):
        result = Bound(connection, {}, {}, {}, [], {})
        for name in sorted(plan.tables()):
            _bind_table(evidence, plan, name, run, result)
        for name, rows in plan.judged.data.items():
            # Of a name that is taken the compiler has complained; the evidence stays where it is.
            if drafts.is_free(name, evidence_tables(plan.judged)):
                _bind_data(connection, name, rows, result)
        for query in plan.queries:
            _bind_query(query, result)
        _describe(plan, result)
        _count_queries(plan, result)
        yield result


def _bind_table(
    evidence: Evidence, plan: GatePlan, name: str, run: RunKey | None, result: Bound
) -> None:
    columns = evidence_tables(plan.judged)[name]
    result.columns[name] = columns
    if run is None or not evidence.has(name):
        result.connection.execute(tables.create_sql(tables.quoted(name), columns, "TEMP TABLE"))
        whole = f"FROM temp.{tables.quoted(name)}"
        result.tables[name] = Table(list(columns), whole, whole, kept=True)
        if run is not None:
            result.broken[name] = f"the table {name} is not in the evidence"
        return
    needed = plan.needed(name)
    rows, whole = (evidence.look(name, chosen, run) for chosen in (needed, list(columns)))
    result.tables[name] = Table(needed, rows, whole, kept=bool(plan.queries))
    if plan.queries:
        result.connection.execute(f"CREATE TEMP TABLE {tables.quoted(name)} AS {rows}")


def _bind_data(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    rows: Sequence[Mapping[str, object]],
    result: Bound,
) -> None:
    """A table of fixed rows; its columns are those of all rows, typed by their values."""
    where = f"data.{name}"
    columns = {column: _data_type([row.get(column) for row in rows]) for column in _keys(rows)}
    result.columns[name] = columns
    if not columns:
        result.problems.append(Problem("data", "a table needs rows with columns", where))
        result.broken[name] = f"the table {name} has no rows"
        columns = {"nothing": "VARCHAR"}
    shape = {
        column: [kind[:-2]] if kind.endswith("[]") else kind for column, kind in columns.items()
    }
    full = [{column: row.get(column) for column in columns} for row in rows]
    connection.execute(
        f"CREATE TEMP TABLE {tables.quoted(name)} AS"
        " SELECT row.* FROM (SELECT unnest(from_json_strict(?::JSON, ?)) AS row)",
        [msgspec.json.encode(full).decode(), msgspec.json.encode([shape]).decode()],
    )


def _keys(rows: Sequence[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _data_type(values: Sequence[object]) -> str:
    """The type that holds all values: a scalar type, VARCHAR[] for lists of texts, JSON for anything else."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return "DOUBLE"
    if len(kinds) == 1 and (kind := kinds.pop()) in _DATA_TYPES:
        return _DATA_TYPES[kind]
    lists = [value for value in values if isinstance(value, list)]
    texts = all(isinstance(item, str) for value in lists for item in value)
    return (
        "VARCHAR[]"
        if lists and texts and len(lists) == len([v for v in values if v is not None])
        else "JSON"
    )


def _bind_query(query: QueryPlan, result: Bound) -> None:
    """A named query, run once and kept under its name."""
    broken = [result.broken[used] for used in sorted(query.uses) if used in result.broken]
    prefix = f"CREATE TEMP TABLE {tables.quoted(query.name)} AS ("
    source = Source(f"with.{query.name}.query", query.text, prefix)
    try:
        result.connection.execute(f"{source.sql()})")
    except duckdb.Error as error:
        message, at = details_of(error)
        result.problems.append(source.problem("bind", message, at))
        broken.append(f"the query {query.name} failed: {message}")
    if broken:
        result.broken[query.name] = broken[0]
        result.columns[query.name] = {}


def _describe(plan: GatePlan, result: Bound) -> None:
    """Columns and types of all queries that could be made, in one statement."""
    names = [query.name for query in plan.queries if query.name not in result.broken]
    if not names:
        return
    marks = [f"judge's {index}" for index in range(len(names))]
    listed = ", ".join(
        f"0 AS {tables.quoted(mark)}, {tables.quoted(name)}.*"
        for mark, name in zip(marks, names, strict=True)
    )
    sources = ", ".join(map(tables.quoted, names))
    cursor = result.connection.execute(f"SELECT {listed} FROM {sources} LIMIT 0")
    description = cursor.description or []
    written = [str(column[0]) for column in description]
    if sum(name in marks for name in written) != len(marks):
        # A column that is called like a mark.
        alone = {
            name: described(result.connection, f"FROM {tables.quoted(name)}") for name in names
        }
        result.columns.update(alone)
        return
    own: dict[str, str] = {}
    for column in description:
        if column[0] in marks:
            own = result.columns[names[marks.index(str(column[0]))]] = {}
        else:
            own[str(column[0]).lower()] = str(column[1])


def distinct_sql(source: str, columns: Mapping[str, str]) -> str:
    """How many distinct rows a relation has: by `seq` where it has one."""
    if "seq" in columns:
        return f"SELECT count(DISTINCT seq) FROM {source}"
    return f"SELECT count(*) FROM (SELECT DISTINCT * FROM {source}\n)"


def _count_queries(plan: GatePlan, result: Bound) -> None:
    """Rows and distinct rows of all queries that could be made, in one statement."""
    names = [query.name for query in plan.queries if query.name not in result.broken]
    parts = [_count_sql(index, name, result.columns[name]) for index, name in enumerate(names)]
    rows = result.connection.execute(" UNION ALL ".join(parts)).fetchall() if parts else []
    for index, count, distinct in rows:
        result.counts[names[int(index)]] = Counts(int(count), int(distinct))


def _count_sql(index: int, name: str, columns: Mapping[str, str]) -> str:
    source = tables.quoted(name)
    if "seq" in columns:
        return f"SELECT {index}, count(*), count(DISTINCT seq) FROM {source}"
    return f"SELECT {index}, (SELECT count(*) FROM {source}), count(*) FROM (SELECT DISTINCT * FROM {source})"


def described(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, str]:
    """Columns and types that a query gives, in lower case, without running it to its end."""
    cursor = connection.execute(f"{sql} LIMIT 0")
    return {str(column[0]).lower(): str(column[1]) for column in cursor.description or []}

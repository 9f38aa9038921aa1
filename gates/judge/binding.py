"""Puts one run's rows where a gate's SQL finds them: temporary tables under the names that it uses."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import duckdb
import msgspec
from msgspec import Struct

from gates.judge import drafts, tables
from gates.judge.connection import Evidence, RunKey, details_of
from gates.judge.plan import GatePlan, evidence_tables
from gates.judge.problem import Problem, Source

_DATA_TYPES: Mapping[type, str] = {str: "VARCHAR", bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE"}


FEW = 2
"""Up to so many assertions, looking for a run's rows again is cheaper than copying all of their columns."""


class Counts(Struct, frozen=True):
    """How many rows a query gives, and how many distinct ones."""

    rows: int
    distinct: int


class Bound(Struct, frozen=True):
    """What is there to be read.

    `columns` are those of every relation, with their types; `broken` says what went wrong with a relation,
    `counts` are of the queries. `worlds` keep how many rows queries give over changed evidence.
    """

    columns: dict[str, dict[str, str]]
    broken: dict[str, str]
    problems: list[Problem]
    counts: dict[str, Counts]
    worlds: dict[str, dict[str, int]]

    def is_unique(self, name: str) -> bool:
        """Whether a query is known to give no row twice."""
        counts = self.counts.get(name)
        return counts is not None and counts.rows == counts.distinct


@contextmanager
def bound(
    evidence: Evidence,
    plan: GatePlan,
    run: RunKey | None,
    limited: AbstractContextManager[None] | None = None,
) -> Iterator[Bound]:
    """One run's rows of the tables that the plan reads, its `data:` and its queries; empty tables without a run.

    A relation that cannot be made is reported in `broken` and `problems`, and everything is dropped at the end.
    `limited` is entered for all but dropping, which must not be interrupted.
    """
    result = Bound({}, {}, [], {}, {})
    made: list[str] = []
    try:
        with limited or nullcontext():
            for name in sorted(plan.tables()):
                _bind_table(evidence, plan, name, run, result)
            _bind_all(evidence.connection, plan, result, made)
            yield result
    finally:
        for name in reversed(made):
            evidence.connection.execute(f"DROP TABLE IF EXISTS temp.{tables.quoted(name)}")
        for name in plan.tables():
            evidence.unbind(name)


def _bind_all(
    connection: duckdb.DuckDBPyConnection, plan: GatePlan, result: Bound, made: list[str]
) -> None:
    """The fixed tables and the queries; `made` gets their names."""
    for name, rows in plan.judged.data.items():
        if not drafts.is_free(name, evidence_tables(plan.judged)):
            # The compiler has complained of it; the evidence stays where it is.
            continue
        _bind_data(connection, name, rows, result)
        made.append(name)
    for query in plan.queries:
        _bind_query(connection, query.name, query.text, query.uses, result)
        made.append(query.name)
    _count_queries(connection, plan, result)


def _bind_table(
    evidence: Evidence, plan: GatePlan, name: str, run: RunKey | None, result: Bound
) -> None:
    columns = evidence_tables(plan.judged)[name]
    result.columns[name] = columns
    if run is not None and evidence.has(name):
        evidence.bind(name, columns, run, keep=bool(plan.queries) or len(plan.asserts) > FEW)
        return
    evidence.connection.execute(tables.create_sql(tables.quoted(name), columns, "TEMP TABLE"))
    if run is not None:
        result.broken[name] = f"the table {name} is not in the evidence"


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


def _bind_query(
    connection: duckdb.DuckDBPyConnection, name: str, text: str, uses: frozenset[str], result: Bound
) -> None:
    """A named query, run once and kept under its name."""
    broken = [result.broken[used] for used in sorted(uses) if used in result.broken]
    prefix = f"CREATE TEMP TABLE {tables.quoted(name)} AS ("
    source = Source(f"with.{name}.query", text, prefix)
    try:
        connection.execute(f"{source.sql()})")
    except duckdb.Error as error:
        message, at = details_of(error)
        result.problems.append(source.problem("bind", message, at))
        broken.append(f"the query {name} failed: {message}")
    if broken:
        result.broken[name] = broken[0]
    result.columns[name] = (
        described(connection, f"SELECT * FROM {tables.quoted(name)}") if not broken else {}
    )


def distinct_sql(source: str, columns: Mapping[str, str]) -> str:
    """How many distinct rows a relation has: by `seq` where it has one."""
    if "seq" in columns:
        return f"SELECT count(DISTINCT seq) FROM {source}"
    return f"SELECT count(*) FROM (SELECT DISTINCT * FROM {source}\n)"


def _count_queries(connection: duckdb.DuckDBPyConnection, plan: GatePlan, result: Bound) -> None:
    """Rows and distinct rows of all queries that could be made, in one statement."""
    names = [query.name for query in plan.queries if query.name not in result.broken]
    parts = [_count_sql(index, name, result.columns[name]) for index, name in enumerate(names)]
    rows = connection.execute(" UNION ALL ".join(parts)).fetchall() if parts else []
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

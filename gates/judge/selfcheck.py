"""Tries whether an assertion that passed could have failed (rule: no verdict from a constant).

For an assertion that passed, evidence is taken away and corrupted until it turns red: the rows of the tables
behind it removed, what its predicate rests on NULLed, then replaced by extremes and by what it is compared
with. An assertion that nothing turns is UNKNOWN, since it would have passed whatever had been observed.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import duckdb
import msgspec

from gates.judge import leaves, tables
from gates.judge.binding import Bound
from gates.judge.deciding import Measurement, decide
from gates.judge.measuring import Unjudgeable, expected_of, measure
from gates.judge.plan import AssertPlan, GatePlan, QueryPlan
from gates.judge.result import Status

_SAMPLE_ROWS = 1000
_MOST_KNOWN = 4096
Expected = int | float | Decimal | None


def cannot_fail(
    connection: duckdb.DuckDBPyConnection,
    plan: AssertPlan,
    gate: GatePlan,
    bound: Bound,
    measured: Measurement,
    expected: Expected,
) -> str | None:
    """Why the assertion cannot fail, or None once a corruption of the evidence made it fail."""
    if decide(plan, Measurement(0, 0, 0), expected).status != "UNKNOWN":
        return "it cannot fail: it does not need any rows"
    problem = _rests_on_evidence(connection, plan, gate, bound)
    if problem or any(
        status == "FAIL" for status in _corrupted(connection, plan, bound, measured, expected)
    ):
        return problem
    return "it cannot fail: no corruption of what it looks at makes it fail"


def fails_on_nulls(
    connection: duckdb.DuckDBPyConnection,
    plan: AssertPlan,
    bound: Bound,
    measured: Measurement,
) -> bool:
    """Whether a predicate over a table of evidence needs rows, and fails when all that it rests on is NULL.

    Then `cannot_fail` has nothing against it, and no row has to be looked at to know that.
    """
    if plan.test == "value" or decide(plan, Measurement(0, 0, 0)).status != "UNKNOWN":
        return False
    answers = _of_nulls(connection, plan.rewritten, tuple(_types(plan, bound)))
    return any(_everywhere(plan, measured, holds) == "FAIL" for holds in answers)


_WORLDS: Mapping[str, str] = {
    "empty": "FROM temp.{name} LIMIT 0",
    "nulls": "SELECT {nulls} FROM temp.{name}",
    "twice": "FROM temp.{name} UNION ALL (SELECT * REPLACE (-1 - seq AS seq) FROM temp.{name})",
    "half": "FROM temp.{name} WHERE seq % 2 = 0",
}
"""What is put in the place of every evidence table, by what is then in it."""


def _rests_on_evidence(
    connection: duckdb.DuckDBPyConnection, plan: AssertPlan, gate: GatePlan, bound: Bound
) -> str | None:
    """For what is read through queries: with the tables behind them empty it must not pass.

    And with nothing but NULL in them, with every row twice, or with half of the rows, it must turn.
    """
    if not gate.behind(plan):
        return None

    def status(world: str) -> Status:
        return _status(connection, plan, gate, bound, world)

    emptied = status("empty")
    if emptied == "PASS":
        return "it cannot fail: it passes without any evidence"
    turned = emptied == "FAIL" or status("nulls") != "PASS"
    turned = turned or "FAIL" in (status("twice"), status("half"))
    return None if turned else "it cannot fail: it passes whatever is in the evidence"


def _status(
    connection: duckdb.DuckDBPyConnection,
    plan: AssertPlan,
    gate: GatePlan,
    bound: Bound,
    world: str,
) -> Status:
    """What the assertion comes to over changed evidence."""
    if not _rows_in(connection, gate, bound, world).get(plan.relation, 1):
        return "UNKNOWN"
    before = _with(plan.reads, gate.behind(plan), bound, world)
    try:
        measured = measure(connection, plan, bound, before)
        return decide(plan, measured, expected_of(connection, plan.comparator, before)).status
    except (duckdb.Error, Unjudgeable):
        return "UNKNOWN"


def _rows_in(
    connection: duckdb.DuckDBPyConnection, gate: GatePlan, bound: Bound, world: str
) -> dict[str, int]:
    """How many rows each query of the gate gives over changed evidence, asked once for all assertions."""
    if world not in bound.worlds:
        queries = [query for query in gate.queries if query.name not in bound.broken]
        reads = frozenset().union(*(query.reads for query in queries))
        counts = [
            f"SELECT {index}, count(*) FROM {tables.quoted(query.name)}"
            for index, query in enumerate(queries)
        ]
        sql = _with(reads, queries, bound, world) + " UNION ALL ".join(counts)
        try:
            found = connection.execute(sql).fetchall()
        except duckdb.Error:
            found = []
        bound.worlds[world] = {queries[int(index)].name: int(count) for index, count in found}
    return bound.worlds[world]


def _with(reads: Iterable[str], queries: Sequence[QueryPlan], bound: Bound, world: str) -> str:
    """A WITH clause that hides the tables that are read behind changed ones, and names the queries over them."""
    named = [f"{tables.quoted(name)} AS ({_body(bound, name, world)})" for name in sorted(reads)]
    named += [f"{tables.quoted(query.name)} AS ({query.text}\n)" for query in queries]
    return f"WITH {', '.join(named)} "


def _body(bound: Bound, name: str, world: str) -> str:
    columns = [
        tables.quoted(column)
        if column in leaves.COMMON
        else f"NULL::{kind} AS {tables.quoted(column)}"
        for column, kind in bound.columns[name].items()
    ]
    return (
        _WORLDS[world].replace("{name}", tables.quoted(name)).replace("{nulls}", ", ".join(columns))
    )


def _corrupted(
    connection: duckdb.DuckDBPyConnection,
    plan: AssertPlan,
    bound: Bound,
    measured: Measurement,
    expected: Expected,
) -> Iterator[Status]:
    """What the assertion comes to under one corruption after the other, cheapest first."""
    if plan.test == "value":
        # The bounds of a percentile are those of a sample; here it is enough that its value breaks the limit.
        plan = msgspec.structs.replace(plan, quantile=None)
        yield from (
            decide(plan, m, expected).status for m in _values(connection, plan, bound, measured)
        )
        return
    for holds in _predicates(connection, plan, bound):
        yield _everywhere(plan, measured, holds)


def _everywhere(plan: AssertPlan, measured: Measurement, holds: bool | None) -> Status:
    """What a predicate comes to that says the same of every row."""
    everywhere = Measurement(
        measured.population,
        measured.rows,
        measured.distinct,
        true=measured.rows if holds else 0,
        null=measured.rows if holds is None else 0,
    )
    return decide(plan, everywhere).status


def _types(plan: AssertPlan, bound: Bound) -> list[str]:
    columns = bound.columns[plan.relation]
    return [leaf.type or columns.get(leaf.column, "VARCHAR") for leaf in plan.split.leaves]


def _predicates(
    connection: duckdb.DuckDBPyConnection, plan: AssertPlan, bound: Bound
) -> Iterator[bool | None]:
    """What the predicate says of corrupted rows: all that it rests on NULL, then one leaf after the other."""
    kinds = _types(plan, bound)
    yield from _of_nulls(connection, plan.rewritten, tuple(kinds))
    for index in range(len(kinds)):
        source = _with_leaf(plan, kinds, index, _tries(plan, kinds, index), rows=3)
        sql = f"SELECT DISTINCT ({plan.rewritten}) FROM ({source})"
        yield from _column(
            connection, sql, f"SELECT DISTINCT TRY({plan.rewritten}) FROM ({source})"
        )


_answers_of_nulls: dict[tuple[str, tuple[str, ...]], list[bool | None]] = {}


def _of_nulls(
    connection: duckdb.DuckDBPyConnection, rewritten: str, kinds: tuple[str, ...]
) -> list[bool | None]:
    """What the predicate says when all that it rests on is NULL; no evidence is in that, so it is asked once."""
    key = (rewritten, kinds)
    if key not in _answers_of_nulls:
        if len(_answers_of_nulls) >= _MOST_KNOWN:
            _answers_of_nulls.clear()
        nulls = ", ".join(f"NULL::{kind} AS leaf_{index}" for index, kind in enumerate(kinds))
        _answers_of_nulls[key] = _column(connection, f"SELECT ({rewritten}) FROM (SELECT {nulls})")
    return _answers_of_nulls[key]


def _column(
    connection: duckdb.DuckDBPyConnection, sql: str, otherwise: str | None = None
) -> list[bool | None]:
    """The answers of a predicate. Where one raises, the others are taken, but no NULL: it may be the error."""
    try:
        return [
            None if row[0] is None else bool(row[0]) for row in connection.execute(sql).fetchall()
        ]
    except duckdb.Error:
        found = _column(connection, otherwise) if otherwise else []
        return [answer for answer in found if answer is not None]


def _tries(plan: AssertPlan, kinds: Sequence[str], index: int) -> list[str]:
    return ["NULL", *leaves.corruptions(kinds[index], f"leaf_{index}", plan.split.constants)]


def _with_leaf(
    plan: AssertPlan, kinds: Sequence[str], index: int, tries: Sequence[str], rows: int
) -> str:
    """Rows of the population, once per try, with one leaf replaced by what is tried."""
    originals = ", ".join(f"{sql} AS leaf_{i}" for i, sql in enumerate(plan.leaf_sql))
    columns = [f"unnest({list(range(len(tries)))}) AS judge_try"]
    columns += [
        f"unnest([{', '.join(tries)}]::{kinds[index]}[]) AS leaf_{index}"
        if i == index
        else f"leaf_{i}"
        for i in range(len(kinds))
    ]
    return f"SELECT {', '.join(columns)} FROM (SELECT row_number() OVER () AS judge_row, {originals} FROM {plan.source}\n LIMIT {rows})"


def _values(
    connection: duckdb.DuckDBPyConnection, plan: AssertPlan, bound: Bound, measured: Measurement
) -> Iterator[Measurement]:
    """What an aggregate comes to over corrupted rows; a plain count over more and fewer of them."""
    kinds = _types(plan, bound)
    if not kinds:
        least = plan.assertion.at_least
        counts = {least, max(least, measured.rows - 1), measured.rows + 1, 10**12}
        yield from (Measurement(count, count, count, value=count) for count in sorted(counts))
    values: Iterable[object] = _extremes(connection, plan, kinds) if kinds else []
    for index in range(len(kinds)):
        values = itertools.chain(values, _tried(connection, plan, kinds, index))
    rows = measured.population
    for value in values:
        yield Measurement(rows, rows, rows, value=value)


def _extremes(
    connection: duckdb.DuckDBPyConnection, plan: AssertPlan, kinds: Sequence[str]
) -> list[object]:
    """The aggregate over rows that hold nothing but the highest, and over such with the lowest values."""
    found: list[object] = []
    for pick in (max, min):
        columns = [f"{leaves.extreme(kind, pick)} AS leaf_{i}" for i, kind in enumerate(kinds)]
        sql = f"SELECT ({plan.rewritten}) FROM (SELECT {', '.join(columns)})"
        with contextlib.suppress(duckdb.Error):
            found += [value for (value,) in connection.execute(sql).fetchall()]
    return found


def _tried(
    connection: duckdb.DuckDBPyConnection, plan: AssertPlan, kinds: Sequence[str], index: int
) -> Iterator[object]:
    yield from _aggregates(connection, plan, kinds, index, _tries(plan, kinds, index))


def _aggregates(
    connection: duckdb.DuckDBPyConnection,
    plan: AssertPlan,
    kinds: Sequence[str],
    index: int,
    tries: Sequence[str],
) -> list[object]:
    """The aggregate once per try; when one of them raises, each on its own."""
    source = _with_leaf(plan, kinds, index, tries, _SAMPLE_ROWS)
    try:
        rows = connection.execute(
            f"SELECT ({plan.rewritten}) FROM ({source}) GROUP BY judge_try"
        ).fetchall()
    except duckdb.Error:
        alone = [[one] for one in tries] if len(tries) > 1 else []
        return [
            value for one in alone for value in _aggregates(connection, plan, kinds, index, one)
        ]
    return [value for (value,) in rows]

"""The SQL that measures an assertion."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb
from msgspec import Struct

from gates.judge import tables, telling, worlds
from gates.judge.binding import Bound, distinct_sql
from gates.judge.comparator import EqualsQuery
from gates.judge.deciding import Measurement, Outcome, decide, finite
from gates.judge.plan import AssertPlan, GatePlan
from gates.judge.worlds import EMPTY, OBSERVED, World

Expected = int | float | Decimal | None


class Unjudgeable(Exception):
    """The assertion cannot be judged on this evidence; the text says why."""


class Evaluated(Struct, frozen=True):
    """What an assertion comes to in one world: what was measured, and what its `is:` is compared with."""

    measured: Measurement
    expected: Expected = None

    def outcome(self, plan: AssertPlan) -> Outcome:
        """What that means."""
        return decide(plan, self.measured, self.expected)


Failure = duckdb.Error | Unjudgeable


def evaluate(
    world: World, plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound
) -> list[Evaluated | Failure]:
    """What each assertion comes to over the evidence of a world, or why that cannot be said."""
    if not plans:
        return []
    if world is EMPTY:
        return _over_changed(world, plans, gate, bound)
    return _over(world, plans, gate, bound)


def _over_changed(
    world: World, plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound
) -> list[Evaluated | Failure]:
    """Of most relations nothing is left, which is found out for all of them at little cost."""
    empty = _empty(world, plans, gate, bound)
    found = iter(_over(world, [p for p in plans if p.relation not in empty], gate, bound))
    nothing = Evaluated(Measurement(0, 0, 0))
    return [nothing if plan.relation in empty else next(found) for plan in plans]


def _empty(
    world: World, plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound
) -> frozenset[str]:
    """The relations without any row; none where counting fails."""
    relations = list(dict.fromkeys(plan.relation for plan in plans))
    counts = [
        f"SELECT {index}, count(*) FROM {tables.quoted(name)}"
        for index, name in enumerate(relations)
    ]
    sql = worlds.before(world, plans, gate, bound) + " UNION ALL ".join(counts)
    try:
        rows = bound.connection.execute(sql).fetchall()
    except duckdb.Error:
        return frozenset()
    return frozenset(relations[index] for index, count in rows if not count)


def _over(
    world: World, plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound
) -> list[Evaluated | Failure]:
    expected = [_expected(world, plan, gate, bound) for plan in plans]
    asked = [
        plan
        for plan, number in zip(plans, expected, strict=True)
        if not isinstance(number, Failure)
    ]
    found = iter(_measured(world, asked, gate, bound))
    return [
        number if isinstance(number, Failure) else _with(next(found), number) for number in expected
    ]


def _with(measured: Measurement | Failure, expected: Expected) -> Evaluated | Failure:
    return measured if isinstance(measured, Failure) else Evaluated(measured, expected)


def _expected(world: World, plan: AssertPlan, gate: GatePlan, bound: Bound) -> Expected | Failure:
    """The one number that the query in `is:` gives, None without a query; Unjudgeable for anything else."""
    if not isinstance(plan.comparator, EqualsQuery):
        return None
    sql = f"{worlds.before(world, [plan], gate, bound)}SELECT * FROM ({plan.comparator.query}\n)"
    try:
        rows = bound.connection.execute(sql).fetchmany(2)
    except duckdb.Error as error:
        return error
    number = finite(rows[0][0]) if len(rows) == 1 and len(rows[0]) == 1 else None
    if number is None:
        return Unjudgeable(f"the query in `is:` gives {_given(rows)}, not one finite number")
    return number


def _given(rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "no row"
    if len(rows) > 1:
        return "several rows"
    return telling.value(rows[0][0]) if len(rows[0]) == 1 else f"{len(rows[0])} columns"


def _measured(
    world: World, plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound
) -> list[Measurement | Failure]:
    """All of them in one statement; each on its own when one of them fails."""
    if not plans:
        return []
    values = [plan for plan in plans if plan.test == "value"]
    parts = [
        _numbered(index, plan, values, bound, observed=world is OBSERVED)
        for index, plan in enumerate(plans)
    ]
    sql = worlds.before(world, plans, gate, bound) + " UNION ALL ".join(parts)
    try:
        rows = bound.connection.execute(sql).fetchall()
    except duckdb.Error as error:
        if len(plans) == 1:
            return [error]
        return [found for plan in plans for found in _measured(world, [plan], gate, bound)]
    rows.sort(key=lambda row: int(row[0]))
    return [_measurement(row, plan, values) for row, plan in zip(rows, plans, strict=True)]


def _numbered(
    index: int, plan: AssertPlan, values: Sequence[AssertPlan], bound: Bound, *, observed: bool
) -> str:
    """What is measured of one assertion, with its index; every value has a column of its own type."""
    # What is known of the bound tables is not known of others.
    unique = is_direct(plan) or (observed and bound.is_unique(plan.relation))
    *counts, last = _columns(plan, bound, unique=unique)
    if not unique and "seq" not in bound.columns[plan.relation]:
        counts[1] = f"({distinct_sql(plan.source, bound.columns[plan.relation])})"
    own = [last if one is plan else "NULL" for one in values]
    known = "0" if plan.test == "value" else last
    return f"SELECT {', '.join([str(index), *counts, known, *own])} FROM {_rows(plan, bound, unique=unique)}"


def _measurement(row: Sequence[Any], plan: AssertPlan, values: Sequence[AssertPlan]) -> Measurement:
    """From a row of `_numbered`."""
    _, rows, distinct, population, odd, true, known, *measured = row
    population = min(population, distinct)
    if plan.test == "value":
        (value,) = (found for one, found in zip(values, measured, strict=True) if one is plan)
        return Measurement(population, rows, distinct, odd=odd, value=value, fast=true)
    return Measurement(population, rows, distinct, true=true, null=rows - known, odd=odd)


def measure_sql(plan: AssertPlan, bound: Bound, *, unique: bool) -> str:
    """One row: rows, distinct rows, population, odd rows, then fast ones and the value, or true and known ones."""
    columns = ", ".join(_columns(plan, bound, unique=unique))
    return f"SELECT {columns} FROM {_rows(plan, bound, unique=unique)}"


def _columns(plan: AssertPlan, bound: Bound, *, unique: bool) -> list[str]:
    columns = bound.columns.get(plan.relation, {})
    distinct = "count(DISTINCT seq)" if not unique and "seq" in columns else "count(*)"
    odd = _odd(plan, columns)
    if plan.test == "value":
        odd = f"count(*) FILTER (WHERE {odd})" if odd else "0"
        population = _population(plan, distinct)
        return ["count(*)", distinct, population, odd, _fast(plan), f"({plan.expression}\n)"]
    odd = "count(*) FILTER (WHERE judge_odd)" if odd else "0"
    true = "count(*) FILTER (WHERE judge_holds)"
    return ["count(*)", distinct, distinct, odd, true, "count(judge_holds)"]


def _rows(plan: AssertPlan, bound: Bound, *, unique: bool) -> str:
    """What is counted: for a predicate its answers, which stand in two counts and are computed once."""
    if plan.test == "value":
        return plan.source
    columns = bound.columns.get(plan.relation, {})
    inner = [f"({plan.expression}\n) AS judge_holds"]
    inner += [f"({odd}) AS judge_odd"] if (odd := _odd(plan, columns)) else []
    inner += ["seq"] if not unique and "seq" in columns else []
    return f"(SELECT {', '.join(inner)} FROM {plan.source}\n)"


MADE_UP = (
    "a percentile over a query needs the `seq` of what was recorded: other rows are no observations"
)


def made_up(plan: AssertPlan, bound: Bound) -> bool:
    """Whether a percentile is of rows that need not be recorded ones."""
    percentile = plan.quantile is not None
    return percentile and not is_direct(plan) and "seq" not in bound.columns[plan.relation]


def is_direct(plan: AssertPlan) -> bool:
    """Whether the rows are those of an evidence table, which sealing keeps distinct."""
    return plan.relation in plan.reads


def _population(plan: AssertPlan, rows: str) -> str:
    """Rows whose inputs are known, for the aggregate that knows fewest."""
    counts = [f"{rows} FILTER (WHERE {condition})" for condition in plan.inputs] or [rows]
    return counts[0] if len(counts) == 1 else f"least({', '.join(counts)})"


def _fast(plan: AssertPlan) -> str:
    if plan.quantile is None:
        return "0"
    return f"count(*) FILTER (WHERE ({plan.quantile.argument}) {plan.comparator})"


def _odd(plan: AssertPlan, columns: Mapping[str, str]) -> str:
    """A condition for rows with NaN or infinity, where there can be any."""
    doubles = [
        sql
        for leaf, sql in zip(plan.split.leaves, plan.leaf_sql, strict=True)
        if leaf.type is None and columns.get(leaf.column) in ("DOUBLE", "FLOAT")
    ]
    checks = [
        f"NOT isfinite(TRY(({text})::DOUBLE))" for text in dict.fromkeys([*doubles, *plan.guards])
    ]
    return " OR ".join(checks)

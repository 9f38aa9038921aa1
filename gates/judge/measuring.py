"""The SQL that measures an assertion."""

from collections.abc import Mapping
from decimal import Decimal

import duckdb

from gates.judge.binding import Bound, distinct_sql
from gates.judge.comparator import Comparator, EqualsQuery
from gates.judge.deciding import Measurement, finite
from gates.judge.plan import AssertPlan


class Unjudgeable(Exception):
    """The assertion cannot be judged on this evidence; the text says why."""


def expected_of(
    connection: duckdb.DuckDBPyConnection, bound: Comparator | None, before: str = ""
) -> int | float | Decimal | None:
    """The one number that the query in `is:` gives, None without a query; Unjudgeable for anything else."""
    if not isinstance(bound, EqualsQuery):
        return None
    rows = connection.execute(f"{before}SELECT * FROM ({bound.query}\n)").fetchmany(2)
    number = finite(rows[0][0]) if len(rows) == 1 and len(rows[0]) == 1 else None
    if number is None:
        raise Unjudgeable("the query in `is:` does not give one finite number")
    return number


def measure(
    connection: duckdb.DuckDBPyConnection, plan: AssertPlan, bound: Bound, before: str = ""
) -> Measurement:
    """What the assertion comes to. `before` is a WITH clause that puts other tables in the place of the bound ones."""
    # What is known of the bound tables is not known of others.
    unique = is_direct(plan) or (not before and bound.is_unique(plan.relation))
    row = connection.execute(before + measure_sql(plan, bound, unique=unique)).fetchone()
    assert row is not None
    population, distinct = int(row[0]), int(row[1])
    columns = bound.columns[plan.relation]
    if not unique and "seq" not in columns:
        found = connection.execute(before + distinct_sql(plan.source, columns)).fetchone()
        distinct = int(found[0]) if found else 0
    common = {"population": min(population, distinct), "distinct": distinct, "rows": int(row[2])}
    if plan.test == "value":
        return Measurement(**common, odd=int(row[3]), value=row[4], fast=int(row[5]))
    return Measurement(**common, odd=int(row[3]), true=int(row[4]), null=int(row[5]))


def measure_sql(plan: AssertPlan, bound: Bound, *, unique: bool) -> str:
    """One row: population, distinct rows, rows, odd rows, then value and fast ones, or true and unknown ones."""
    columns = bound.columns.get(plan.relation, {})
    by_seq = not unique and "seq" in columns
    rows = "count(DISTINCT seq)" if by_seq else "count(*)"
    odd = _odd(plan, columns)
    if plan.test == "value":
        return (
            f"SELECT {_population(plan, rows)}, {rows}, count(*), {f'count(*) FILTER (WHERE {odd})' if odd else '0'},"
            f" ({plan.expression}\n), {_fast(plan)} FROM {plan.source}"
        )
    inner = [f"({plan.expression}\n) AS judge_holds"]
    inner += [f"({odd}) AS judge_odd"] if odd else []
    inner += ["seq"] if by_seq else []
    return (
        f"SELECT {rows}, {rows}, count(*), {'count(*) FILTER (WHERE judge_odd)' if odd else '0'}, count(*) FILTER (WHERE judge_holds),"
        f" count(*) - count(judge_holds) FROM (SELECT {', '.join(inner)} FROM {plan.source}\n)"
    )


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

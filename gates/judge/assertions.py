"""Runs one assertion on one run's evidence."""

import math
from collections.abc import Sequence

import duckdb
import msgspec

from gates.judge import comparator, measuring, selfcheck, tables
from gates.judge.binding import Bound
from gates.judge.connection import Evidence, RunKey, message_of
from gates.judge.deciding import Measurement, Outcome, decide
from gates.judge.measuring import Unjudgeable, expected_of, is_direct, measure, measure_sql
from gates.judge.plan import AssertPlan, GatePlan, evidence_tables
from gates.judge.result import AssertionResult

SHOWN_ROWS = 5
SHOWN_BYTES = 300
"""How many violating rows a result shows, and how long a field may be."""


def glance(
    evidence: Evidence, plan: AssertPlan, gate: GatePlan, key: RunKey
) -> AssertionResult | None:
    """The result of a plain assertion that passes, without its table being bound; None when there is more to it.

    It asks what `judge` asks, of the few columns that are needed.
    """
    if plan.relation not in plan.reads or plan.test == "value" or not evidence.has(plan.relation):
        return None
    columns = evidence_tables(gate.judged)[plan.relation]
    bound = Bound({plan.relation: columns}, {}, [], {}, {})
    needed = [name for name in columns if name in plan.names] or ["seq"]
    rows = evidence.look(plan.relation, needed, key)
    try:
        before = f"WITH {tables.quoted(plan.relation)} AS ({rows}) "
        measured = measure(evidence.connection, plan, bound, before)
        outcome = decide(plan, measured)
        if outcome.status != "PASS" or not selfcheck.fails_on_nulls(
            evidence.connection, plan, bound, measured
        ):
            return None
    except duckdb.Error:
        return None
    return _result(plan, outcome, measured, [], measure_sql(plan, bound, unique=True))


def judge(
    connection: duckdb.DuckDBPyConnection, plan: AssertPlan, gate: GatePlan, bound: Bound
) -> AssertionResult:
    """The result of one assertion, whose tables are bound; a failure of its SQL is UNKNOWN."""
    unique = is_direct(plan) or bound.is_unique(plan.relation)
    sql = measure_sql(plan, bound, unique=unique)
    try:
        _populations(plan, gate, bound)
        _observed(plan, bound)
        expected = expected_of(connection, plan.comparator)
        measured = measure(connection, plan, bound)
        outcome = decide(plan, measured, expected)
        if outcome.status == "PASS":
            problem = selfcheck.cannot_fail(connection, plan, gate, bound, measured, expected)
            outcome = Outcome("UNKNOWN", outcome.measured, None, problem) if problem else outcome
        rows = _violating(connection, plan, bound, outcome)
    except Unjudgeable as error:
        return _unknown(plan, sql, str(error))
    except duckdb.Error as error:
        return _unknown(plan, sql, f"the SQL failed: {message_of(error)}")
    return _result(plan, outcome, measured, rows, sql)


def _result(
    plan: AssertPlan,
    outcome: Outcome,
    measured: Measurement,
    rows: list[dict[str, object]],
    sql: str,
) -> AssertionResult:
    return AssertionResult(
        that=plan.assertion.that,
        status=outcome.status,
        measured=outcome.measured,
        expectation=expectation(plan),
        population=measured.population,
        at_least=plan.assertion.at_least,
        violating=outcome.violating,
        rows=rows,
        sql=sql,
        why=outcome.why,
    )


def _unknown(plan: AssertPlan, sql: str, why: str) -> AssertionResult:
    return AssertionResult(
        that=plan.assertion.that,
        status="UNKNOWN",
        measured=None,
        expectation=expectation(plan),
        population=None,
        at_least=plan.assertion.at_least,
        violating=None,
        rows=[],
        sql=sql,
        why=why,
    )


def expectation(plan: AssertPlan) -> str:
    """What was to be true, in words close to the gate's."""
    text = plan.expression.strip()
    if plan.test == "share":
        return f"the share of rows with {text} is {plan.comparator}"
    if plan.test == "value":
        return f"{text} is {plan.comparator}"
    return f"{'every row' if plan.test == 'every' else 'no row'} has {text}"


def _populations(plan: AssertPlan, gate: GatePlan, bound: Bound) -> None:
    """Every query behind the assertion must have run and have its own population."""
    if plan.relation in bound.broken:
        raise Unjudgeable(bound.broken[plan.relation])
    for query in gate.behind(plan):
        if query.name in bound.broken:
            raise Unjudgeable(bound.broken[query.name])
        count = bound.counts[query.name].distinct
        if count < query.at_least:
            raise Unjudgeable(
                f"the query {query.name} has only {count} of at least {query.at_least} rows"
            )


def _observed(plan: AssertPlan, bound: Bound) -> None:
    """The bounds of a percentile are those of independent observations, which a join can make any number of."""
    if measuring.made_up(plan, bound):
        raise Unjudgeable(measuring.MADE_UP)


def _violating(
    connection: duckdb.DuckDBPyConnection, plan: AssertPlan, bound: Bound, outcome: Outcome
) -> list[dict[str, object]]:
    """The first violating rows, when there are any."""
    if not outcome.violating:
        return []
    test = violates(plan)
    order = "seq" if "seq" in bound.columns[plan.relation] else "ALL"
    columns = ", ".join(map(tables.quoted, bound.columns[plan.relation]))
    cursor = connection.execute(
        f"SELECT {columns} FROM (SELECT *, ({test}) AS judge_violates FROM {plan.source}\n)"
        f" WHERE judge_violates ORDER BY {order} LIMIT {SHOWN_ROWS}"
    )
    kinds = bound.columns[plan.relation]
    return [_shown(kinds, row) for row in cursor.fetchall()]


def violates(plan: AssertPlan) -> str:
    """The condition of a violating row."""
    if plan.quantile is not None:
        return f"(({plan.quantile.argument}) {plan.comparator}) IS NOT TRUE"
    is_upper = (
        plan.test == "share"
        and isinstance(plan.comparator, comparator.Simple)
        and comparator.upper_bounded(plan.comparator)
    )
    wanted = "FALSE" if plan.test == "none" or is_upper else "TRUE"
    return f"({plan.expression}\n) IS NOT {wanted}"


def _shown(kinds: dict[str, str], row: Sequence[object]) -> dict[str, object]:
    """A row for the report: JSON as JSON, long fields cut, what is the same in all rows left out."""
    values = zip(kinds.items(), row, strict=True)
    return {
        name: _cut(kind, value) for (name, kind), value in values if name not in ("run_id", "gate")
    }


def _cut(kind: str, value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and len(value) > SHOWN_BYTES:
        return f"{value[:SHOWN_BYTES]}… ({len(value)} characters)"
    if kind == "JSON" and isinstance(value, str):
        return msgspec.json.decode(value)
    if isinstance(value, list):
        return [_cut("", item) for item in value[:20]]
    return str(value)[:SHOWN_BYTES]

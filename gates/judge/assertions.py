"""Runs the assertions of a gate on one run's evidence."""

import math
import re
from collections.abc import Mapping, Sequence

import duckdb
import msgspec

from gates.judge import comparator, leaves, measuring, selfcheck, tables, telling, unknowns
from gates.judge.binding import Bound
from gates.judge.connection import message_of
from gates.judge.deciding import Measurement, Outcome
from gates.judge.measuring import (
    Evaluated,
    Failure,
    Unjudgeable,
    evaluate,
    is_direct,
    measure_sql,
)
from gates.judge.plan import AssertPlan, GatePlan
from gates.judge.result import AssertionResult
from gates.judge.selfcheck import Passed
from gates.judge.worlds import OBSERVED, TURNED, whole

FIRST = "; first: "
SHOWN_ROWS = 5
SHOWN_BYTES = 300
"""How many violating rows a result shows, and how long a field may be."""


def judge(
    plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound, *, edited: bool = False
) -> list[AssertionResult]:
    """The results of a gate's assertions, in their order; where SQL fails it is UNKNOWN.

    Whether they could have failed is not asked of a run of an `edited` system: it is there to make them fail (rule 18).
    """
    unready = [_unready(plan, gate, bound) for plan in plans]
    ready = [plan for plan, why in zip(plans, unready, strict=True) if why is None]
    found = iter(_decided(ready, gate, bound, edited=edited))
    return [
        next(found) if why is None else _unknown(plan, bound, why)
        for plan, why in zip(plans, unready, strict=True)
    ]


def _decided(
    plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound, *, edited: bool
) -> list[AssertionResult]:
    evaluated = evaluate(OBSERVED, plans, gate, bound)
    passed = [
        Passed(plan, seen.measured, seen.expected)
        for plan, seen in zip(plans, evaluated, strict=True)
        if isinstance(seen, Evaluated) and seen.outcome(plan).status == "PASS"
    ]
    asked = [] if edited else passed
    whys = selfcheck.cannot_fail(asked, gate, bound)
    problems = {id(one.plan): why for one, why in zip(asked, whys, strict=True)}
    problems |= _decided_by_order([one.plan for one in passed], gate, bound)
    problems |= unknowns.undecided([one.plan for one in passed], gate, bound)
    return [
        _seen(plan, bound, seen, problems.get(id(plan)))
        for plan, seen in zip(plans, evaluated, strict=True)
    ]


BY_ORDER = "the order of the rows decides: with the same rows the other way round it does not pass"


def _decided_by_order(plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound) -> dict[int, str]:
    """The assertions among those that passed which do not when the same rows are read in the other order (rule 39)."""
    asked = [p for p in plans if p.ordered or any(query.ordered for query in gate.behind(p))]
    found = evaluate(TURNED, asked, gate, bound)
    return {
        id(plan): BY_ORDER
        for plan, seen in zip(asked, found, strict=True)
        if not isinstance(seen, Evaluated) or seen.outcome(plan).status != "PASS"
    }


def _seen(
    plan: AssertPlan, bound: Bound, seen: Evaluated | Failure, problem: str | None
) -> AssertionResult:
    if isinstance(seen, Failure):
        return _failed(plan, bound, seen)
    outcome = seen.outcome(plan)
    if problem is not None:
        outcome = Outcome("UNKNOWN", outcome.measured, None, problem)
    try:
        rows = _violating(plan, bound, outcome)
        outcome = _with_first(outcome, rows, looks_at(plan))
    except duckdb.Error as error:
        return _failed(plan, bound, error)
    return _result(plan, outcome, seen.measured, rows, _sql(plan, bound))


def _sql(plan: AssertPlan, bound: Bound) -> str:
    return measure_sql(plan, bound, unique=is_direct(plan) or bound.is_unique(plan.relation))


def _failed(plan: AssertPlan, bound: Bound, failure: Failure) -> AssertionResult:
    if isinstance(failure, Unjudgeable):
        return _unknown(plan, bound, str(failure))
    return _unknown(plan, bound, f"the SQL failed: {message_of(failure)}")


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
        looks_at=looks_at(plan),
        nulls=measured.null,
    )


def _with_first(
    outcome: Outcome, rows: Sequence[Mapping[str, object]], names: Sequence[str]
) -> Outcome:
    """What was found, with the first row of which that can be seen."""
    if outcome.status != "FAIL" or not rows:
        return outcome
    return msgspec.structs.replace(
        outcome, why=f"{outcome.why}{FIRST}{telling.pairs(rows[0], names)}"
    )


def _unknown(plan: AssertPlan, bound: Bound, why: str) -> AssertionResult:
    return AssertionResult(
        that=plan.assertion.that,
        status="UNKNOWN",
        measured=None,
        expectation=expectation(plan),
        population=None,
        at_least=plan.assertion.at_least,
        violating=None,
        rows=[],
        sql=_sql(plan, bound),
        why=why,
    )


def expectation(plan: AssertPlan) -> str:
    """What was to be true, in one line and in words close to the gate's."""
    text = " ".join(plan.expression.split())
    if plan.test == "share":
        return f"the share of rows with {text} is {plan.comparator}"
    if plan.test == "value":
        return f"{text} {plan.comparator}"
    return f"{'every row' if plan.test == 'every' else 'no row'} has {text}"


def _unready(plan: AssertPlan, gate: GatePlan, bound: Bound) -> str | None:
    """Every relation behind the assertion must be there, and every query have its own population."""
    if plan.relation in bound.broken:
        return bound.broken[plan.relation]
    for query in gate.behind(plan):
        if query.name in bound.broken:
            return bound.broken[query.name]
        count = bound.counts[query.name].distinct
        if count < query.at_least:
            return f"the query {query.name} has only {count} of at least {query.at_least} rows"
    # The bounds of a percentile are those of independent observations, which a join can make any number of.
    return measuring.MADE_UP if measuring.made_up(plan, bound) else None


def _violating(plan: AssertPlan, bound: Bound, outcome: Outcome) -> list[dict[str, object]]:
    """The first violating rows, when there are any."""
    if not outcome.violating:
        return []
    test = violates(plan)
    order = "seq" if "seq" in bound.columns[plan.relation] else "ALL"
    kinds = bound.columns[plan.relation]
    parts = {name: part for name, part in _parts(plan).items() if name not in kinds}
    # A place that the predicate did not get to look at must not make it fail now.
    looked = [f"TRY({sql})" for sql, _ in parts.values()]
    columns = ", ".join([*looked, *map(tables.quoted, kinds)])
    cursor = bound.connection.execute(
        f"{whole(plan, bound)}SELECT {columns} FROM (SELECT *, ({test}) AS judge_violates FROM {plan.source}\n)"
        f" WHERE judge_violates ORDER BY {order} LIMIT {SHOWN_ROWS}"
    )
    own_kinds = {name: kind for name, (_, kind) in parts.items()} | kinds
    shown = [_shown(own_kinds, row) for row in cursor.fetchall()]
    first = looks_at(plan)
    return [{**{name: row[name] for name in first if name in row}, **row} for row in shown]


_ARROW = re.compile(r"\((\w+) (->>?) ('(?:[^']|'')*')\)")


def _parts(plan: AssertPlan) -> dict[str, tuple[str, str]]:
    """What the predicate looks at, with its SQL and its type: columns, and places in JSON as they are mostly written."""
    leaf_of = zip(plan.leaf_sql, plan.split.leaves, strict=True)
    return {
        leaf.column if leaf.type is None else _ARROW.sub(r"\1\2\3", sql): (sql, leaf.type or "")
        for sql, leaf in leaf_of
        if leaf.column not in leaves.COMMON
    }


def looks_at(plan: AssertPlan) -> list[str]:
    """The names in `rows` of what the predicate looks at."""
    return list(_parts(plan))


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
    if isinstance(value, dict):
        return {str(key): _cut("", item) for key, item in list(value.items())[:20]}
    if isinstance(value, bytes):
        return value[:SHOWN_BYTES].hex()
    return str(value)[:SHOWN_BYTES]

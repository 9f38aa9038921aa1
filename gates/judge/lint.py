"""What can be known to be wrong with a gate's assertions without any evidence."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal

import duckdb
import msgspec
from msgspec import Struct

from gates.judge import binding, connection, measuring
from gates.judge.binding import Bound
from gates.judge.compiler import compile_gate, text_of
from gates.judge.connection import Evidence, details_of
from gates.judge.plan import AssertPlan, GatePlan
from gates.judge.problem import Problem, Source, Text
from gates.judge.style import Style, style_of
from gates.judge.verdict import limits_of, rests_on_outside
from gates.spec.assertion import Judged, Named

Place = tuple[str | int, ...]
_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UBIGINT",
    "UHUGEINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
)


class Complaint(Struct, frozen=True):
    """What is wrong, and where in the gate's YAML; `offset` counts characters of the text there."""

    place: Place
    message: str
    hint: str | None = None
    offset: int | None = None
    severity: Literal["error", "warning"] = "error"


def sql_problems(
    judged: Judged, *, alone: frozenset[str] | None, golden: bool
) -> Iterator[Complaint]:
    """Every problem of a gate's assertions; `golden` is what the gate says of itself.

    `alone` names the steps and loads that run with nothing beside them, and is None where the whole gate does.
    """
    problems, plan, style = _checked(judged)
    yield from map(_complaint, problems)
    if not golden:
        yield from map(_complaint, style.copies)
    for found in [*style.long, *plan.hints]:
        yield msgspec.structs.replace(_complaint(found), severity="warning")
    if alone is not None:
        yield from _beside_others(plan, alone)


def _beside_others(plan: GatePlan, alone: frozenset[str]) -> Iterator[Complaint]:
    """Limits on the latency of what others may slow down; where it is open what a limit is about, any step may be meant."""
    for index, own in enumerate(plan.asserts):
        limit = min(limits_of(own), default=None) if own is not None else None
        if own is None or limit is None or (own.about <= alone if own.about else alone):
            continue
        who = " and ".join(sorted(own.about - alone)) or "the gate, or a step of it,"
        message = f"a limit on latency ({limit:g} ms): {who} needs `exclusive: true`"
        yield Complaint(("assert", index), message)


def texts_of(judged: Judged) -> tuple[Text, ...]:
    """What a gate's SQL compares with columns of evidence."""
    return compile_gate(_blank().connection, judged).texts


def judged_queries(
    queries: Mapping[str, Named], collected: Mapping[str, Mapping[str, str]]
) -> Judged:
    """Named queries that belong to no gate yet; their places begin with `with`, as in a gate."""
    tables = {name: dict(columns) for name, columns in collected.items()}
    return Judged(gate="", id="", asserts=[], with_=dict(queries), collected=tables)


def query_problems(judged: Judged) -> Iterator[Complaint]:
    """Every problem of named queries."""
    plan = compile_gate(_blank().connection, judged)
    with binding.bound(_blank(), plan, None) as bound:
        yield from map(_complaint, [*plan.problems, *bound.problems])


def place_of(where: str) -> Place:
    """The place in YAML of what a problem says of itself."""
    return tuple(int(part) if part.isdigit() else part for part in where.split(".", 2))


def _complaint(problem: Problem) -> Complaint:
    message, _, hint = problem.message.partition("; did you mean ")
    return Complaint(place_of(problem.where), message, hint.strip('"?') or None, problem.offset)


@lru_cache(maxsize=1)
def _blank() -> Evidence:
    return connection.open_blank({})


_MOST_CHECKED = 1024
_known: dict[bytes, tuple[list[Problem], GatePlan, Style]] = {}


def _checked(judged: Judged) -> tuple[list[Problem], GatePlan, Style]:
    """What `check` and `style_of` say, asked once per text."""
    key = text_of(judged)
    if key not in _known:
        if len(_known) >= _MOST_CHECKED:
            _known.clear()
        style = style_of(_blank().connection, judged)
        _known[key] = (*check(_blank(), judged), style)
    return _known[key]


def check(evidence: Evidence, judged: Judged) -> tuple[list[Problem], GatePlan]:
    """All problems of a gate's assertions, after binding them against empty typed tables."""
    plan = compile_gate(evidence.connection, judged)
    problems = list(plan.problems)
    with binding.bound(evidence, plan, None) as bound:
        problems += bound.problems
        for own in plan.asserts:
            if own is not None and own.relation not in bound.broken:
                problems += _bind(own, plan, bound)
    if not problems and not rests_on_outside(plan):
        message = "no assertion rests on a table that is observed from outside: the system supplies all of it"
        problems.append(Problem("outside", message, "assert"))
    return problems, plan


def _bind(plan: AssertPlan, gate: GatePlan, bound: Bound) -> list[Problem]:
    """Try the expression, piece by piece where that fails so that an error is shown in its place; then the whole."""
    if any(query.name in bound.broken for query in gate.behind(plan)):
        return []
    duck = bound.connection
    tail = f" FROM {plan.source}\n"
    expression = Source(f"{plan.where}.{plan.test}", plan.expression, "SELECT (")
    try:
        columns = binding.described(duck, f"{expression.sql()}) AS it{tail}")
    except duckdb.Error:
        return _pieces(duck, plan, expression, tail) or _whole(plan, bound)
    found = [*_kind(plan, expression, next(iter(columns.values()))), *_whole(plan, bound)]
    found += _constant(plan, expression, bound) if not found else []
    if measuring.made_up(plan, bound):
        found.append(expression.problem("population", measuring.MADE_UP))
    return found


_POPULATIONS = (1, 2, 3, 1000)


def _constant(plan: AssertPlan, expression: Source, bound: Bound) -> list[Problem]:
    """A value of no column that is the same however many rows there are."""
    if plan.test != "value" or plan.split.leaves:
        return []
    counts = " UNION ALL ".join(
        f"SELECT ({plan.rewritten}) FROM range({rows})" for rows in _POPULATIONS
    )
    try:
        values = {value for (value,) in bound.connection.execute(counts).fetchall()}
    except duckdb.Error:
        return []
    if len(values) > 1:
        return []
    return [expression.problem("constant", "this is the same whatever rows there are")]


def _pieces(
    duck: duckdb.DuckDBPyConnection, plan: AssertPlan, expression: Source, tail: str
) -> list[Problem]:
    """The first piece that does not bind, where it was written."""
    source = Source(f"{plan.where}.from", plan.source, "SELECT * FROM ")
    problem = _try(duck, source, source.sql()) or _try(
        duck, expression, f"{expression.sql()}){tail}"
    )
    return [problem] if problem else []


def _try(duck: duckdb.DuckDBPyConnection, source: Source, sql: str) -> Problem | None:
    try:
        duck.execute(sql)
    except duckdb.Error as error:
        message, at = details_of(error)
        return source.problem("bind", message, at)
    return None


def _kind(plan: AssertPlan, expression: Source, kind: str) -> list[Problem]:
    """A predicate is boolean, a value is a number."""
    if plan.test == "value" and not kind.startswith(_NUMBERS):
        return [expression.problem("type", f"a value is a number, not {kind}")]
    if plan.test != "value" and kind != "BOOLEAN":
        return [expression.problem("type", f"a predicate is true or false, not {kind}")]
    return []


def _whole(plan: AssertPlan, bound: Bound) -> list[Problem]:
    """What the judge will run, and the query in `is:`."""
    duck = bound.connection
    expression = Source(f"{plan.where}.{plan.test}", "")
    found = [_try(duck, expression, measuring.measure_sql(plan, bound, unique=False))]
    query = getattr(plan.comparator, "query", None)
    if isinstance(query, str):
        found.append(_try(duck, Source(f"{plan.where}.is", query), query))
    return [problem for problem in found if problem]


def columns_of(plan: GatePlan) -> Mapping[str, tuple[str, ...]]:
    """The columns that each assertion rests on, by what it says."""
    return {own.assertion.that: own.split.columns() for own in plan.asserts if own}

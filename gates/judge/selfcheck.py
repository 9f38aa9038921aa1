"""Tries whether assertions that passed could have failed (rule: no verdict from a constant).

For an assertion that passed, evidence is taken away and corrupted until it turns red: the rows of the tables
behind it removed, what its predicate rests on NULLed, then replaced by extremes and by what it is compared
with. An assertion that nothing turns is UNKNOWN, since it would have passed whatever had been observed.
"""

from collections.abc import Sequence
from typing import Any

import duckdb
import msgspec
from msgspec import Struct

from gates.judge import leaves, worlds
from gates.judge.binding import Bound
from gates.judge.deciding import Measurement, decide
from gates.judge.measuring import Evaluated, Expected, evaluate
from gates.judge.plan import AssertPlan, GatePlan
from gates.judge.result import Status
from gates.judge.worlds import EMPTY, HALF, NULLS, OBSERVED, TWICE, World

_SAMPLE_ROWS = 1000
_MOST_KNOWN = 4096

NO_ROWS = "it cannot fail: it does not need any rows"
NO_EVIDENCE = "it cannot fail: it passes without any evidence"
ANY_EVIDENCE = "it cannot fail: it passes whatever is in the evidence"
NOTHING = "it cannot fail: no corruption of what it looks at makes it fail"


class Passed(Struct, frozen=True):
    """An assertion that passed, and with what."""

    plan: AssertPlan
    measured: Measurement
    expected: Expected


def cannot_fail(passed: Sequence[Passed], gate: GatePlan, bound: Bound) -> list[str | None]:
    """Why each assertion cannot fail, or None where a corruption of the evidence makes it fail."""
    whys: dict[int, str] = {}
    for index, one in enumerate(passed):
        if decide(one.plan, Measurement(0, 0, 0), one.expected).status != "UNKNOWN":
            whys[index] = NO_ROWS
    left = {i: one.plan for i, one in enumerate(passed) if i not in whys}
    whys |= _rest_on_nothing(
        {i: plan for i, plan in left.items() if gate.behind(plan)}, gate, bound
    )
    asked = {i: one for i, one in enumerate(passed) if i not in whys}
    turned = _turned(list(asked.values()), gate, bound)
    whys |= {i: NOTHING for i, red in zip(asked, turned, strict=True) if not red}
    return [whys.get(index) for index in range(len(passed))]


def _rest_on_nothing(plans: dict[int, AssertPlan], gate: GatePlan, bound: Bound) -> dict[int, str]:
    """For what is read through queries: with the tables behind them empty it must not pass.

    And with nothing but NULL in them, with every row twice, or with half of the rows, it must turn.
    """

    def statuses(world: World) -> dict[int, Status | None]:
        return dict(zip(plans, _statuses(world, list(plans.values()), gate, bound), strict=True))

    emptied = dict(zip(plans, _of_nothing(list(plans.values()), gate, bound), strict=True))
    whys = {i: NO_EVIDENCE for i, status in emptied.items() if status == "PASS"}
    plans = {i: plan for i, plan in plans.items() if emptied[i] in ("UNKNOWN", None)}
    nulls = statuses(NULLS)
    plans = {i: plan for i, plan in plans.items() if nulls[i] == "PASS"}
    for world in (TWICE, HALF):
        found = statuses(world)
        plans = {i: plan for i, plan in plans.items() if found[i] != "FAIL"}
    return whys | dict.fromkeys(plans, ANY_EVIDENCE)


def _statuses(
    world: World, plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound
) -> list[Status | None]:
    """What assertions come to over changed evidence, None for one of which that cannot be said."""
    seen = evaluate(world, plans, gate, bound)
    return [
        one.outcome(plan).status if isinstance(one, Evaluated) else None
        for plan, one in zip(plans, seen, strict=True)
    ]


_answers_of_nothing: dict[tuple[bytes, str], Status] = {}


def _of_nothing(plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound) -> list[Status | None]:
    """What assertions come to without any evidence. It is the same for every run of a gate, so it is asked once."""
    if len(_answers_of_nothing) > _MOST_KNOWN:
        _answers_of_nothing.clear()
    unknown = [p for p in plans if (gate.text, p.where) not in _answers_of_nothing]
    for plan, status in zip(unknown, _statuses(EMPTY, unknown, gate, bound), strict=True):
        # What could not be said may be said the next time.
        if status is not None:
            _answers_of_nothing[gate.text, plan.where] = status
    return [_answers_of_nothing.get((gate.text, plan.where)) for plan in plans]


def _turned(passed: Sequence[Passed], gate: GatePlan, bound: Bound) -> list[bool]:
    """Whether some corruption makes each of them fail: first what is asked of all at once, then the rest."""
    predicates = [one.plan for one in passed if one.plan.test != "value"]
    answers = iter(_of_nulls(predicates, bound))
    return [
        _breaks(one, gate, bound)
        if one.plan.test == "value"
        else _fails(one, next(answers)) or _fails(one, _of_leaves(one.plan, gate, bound))
        for one in passed
    ]


def _fails(one: Passed, answers: Sequence[bool | None]) -> bool:
    """Whether a predicate fails that says one of these things of every row."""
    measured = one.measured
    return any(
        decide(
            one.plan,
            Measurement(
                measured.population,
                measured.rows,
                measured.distinct,
                true=measured.rows if holds else 0,
                null=measured.rows if holds is None else 0,
            ),
        ).status
        == "FAIL"
        for holds in answers
    )


def _types(plan: AssertPlan, bound: Bound) -> tuple[str, ...]:
    columns = bound.columns[plan.relation]
    return tuple(leaf.type or columns.get(leaf.column, "VARCHAR") for leaf in plan.split.leaves)


class _Try(Struct, frozen=True):
    """A query about corrupted rows. When it raises, its `pieces` are asked instead, as far as they do not."""

    sql: str
    pieces: tuple[str, ...] = ()


def _rows(bound: Bound, before: str, tries: Sequence[_Try]) -> list[Any]:
    """The rows of all queries, asked in one statement; each on its own when one raises."""
    if not tries:
        return []
    try:
        sql = before + " UNION ALL ".join(one.sql for one in tries)
        return bound.connection.execute(sql).fetchall()
    except duckdb.Error:
        apart = (
            [[one] for one in tries] if len(tries) > 1 else [[_Try(sql)] for sql in tries[0].pieces]
        )
        return [row for one in apart for row in _rows(bound, before, one)]


Holds = list[bool | None]
_answers_of_nulls: dict[tuple[str, tuple[str, ...]], Holds] = {}


def _of_nulls(plans: Sequence[AssertPlan], bound: Bound) -> list[Holds]:
    """What predicates say when all that they rest on is NULL; no evidence is in that, so it is asked once."""
    keys = [(plan.rewritten, _types(plan, bound)) for plan in plans]
    if len(_answers_of_nulls) > _MOST_KNOWN:
        _answers_of_nulls.clear()
    unknown = list(dict.fromkeys(key for key in keys if key not in _answers_of_nulls))
    tries = []
    for number, (rewritten, kinds) in enumerate(unknown):
        nulls = ", ".join(f"NULL::{kind} AS leaf_{index}" for index, kind in enumerate(kinds))
        tries.append(_Try(f"SELECT {number}, ({rewritten})::BOOLEAN FROM (SELECT {nulls})"))
    _answers_of_nulls.update((key, []) for key in unknown)
    for number, holds in _rows(bound, "", tries):
        _answers_of_nulls[unknown[number]].append(holds)
    return [_answers_of_nulls[key] for key in keys]


def _of_leaves(plan: AssertPlan, gate: GatePlan, bound: Bound) -> Holds:
    """What a predicate says of recorded rows in which one leaf after the other is replaced by all that is tried.

    Where one raises, the others are taken, but no NULL: it may be the error.
    """
    kinds = _types(plan, bound)
    tries = []
    for index in range(len(kinds)):
        rows = _with_leaf(kinds, index, _tries(plan, kinds, index))
        told = f"SELECT DISTINCT TRY({plan.rewritten})::BOOLEAN AS holds FROM ({rows})"
        sql = f"SELECT DISTINCT ({plan.rewritten})::BOOLEAN FROM ({rows})"
        tries.append(_Try(sql, (f"FROM ({told}) WHERE holds IS NOT NULL",)))
    return [holds for (holds,) in _rows(bound, _sampled(plan, gate, bound, 3), tries)]


def _breaks(one: Passed, gate: GatePlan, bound: Bound) -> bool:
    """Whether an aggregate misses its bound over corrupted rows; a plain count over more and fewer of them."""
    # The bounds of a percentile are those of a sample; here it is enough that its value breaks the limit.
    plan = msgspec.structs.replace(one.plan, quantile=None)
    if plan.split.leaves:
        rows = one.measured.population
        tried = [Measurement(rows, rows, rows, value=v) for v in _values(plan, gate, bound)]
    else:
        least, rows = plan.assertion.at_least, one.measured.rows
        counts = sorted({least, max(least, rows - 1), rows + 1, 10**12})
        tried = [Measurement(count, count, count, value=count) for count in counts]
    return any(decide(plan, measured, one.expected).status == "FAIL" for measured in tried)


def _values(plan: AssertPlan, gate: GatePlan, bound: Bound) -> list[object]:
    """The aggregate over rows that hold nothing but the highest, or the lowest, and once per try for each leaf."""
    kinds = _types(plan, bound)
    tries = []
    for pick in (max, min):
        columns = [f"{leaves.extreme(kind, pick)} AS leaf_{i}" for i, kind in enumerate(kinds)]
        tries.append(_Try(f"SELECT ({plan.rewritten}) FROM (SELECT {', '.join(columns)})"))
    for index in range(len(kinds)):
        own = _tries(plan, kinds, index)
        whole, *pieces = (
            f"SELECT ({plan.rewritten}) FROM ({_with_leaf(kinds, index, some)}) GROUP BY judge_try"
            for some in (own, *([one] for one in own))
        )
        tries.append(_Try(whole, tuple(pieces)))
    return [value for (value,) in _rows(bound, _sampled(plan, gate, bound, _SAMPLE_ROWS), tries)]


_SAMPLE = '"judge\'s sample"'


def _sampled(plan: AssertPlan, gate: GatePlan, bound: Bound, rows: int) -> str:
    """The WITH clause for some recorded rows of an assertion's leaves."""
    originals = "".join(f", {sql} AS leaf_{i}" for i, sql in enumerate(plan.leaf_sql))
    sql = f"SELECT row_number() OVER () AS judge_row{originals} FROM {plan.source}\n LIMIT {rows}"
    named = worlds.named(OBSERVED, [plan], gate, bound)
    return worlds.clause({**named, _SAMPLE: sql})


def _tries(plan: AssertPlan, kinds: Sequence[str], index: int) -> list[str]:
    return ["NULL", *leaves.corruptions(kinds[index], f"leaf_{index}", plan.split.constants)]


def _with_leaf(kinds: Sequence[str], index: int, tries: Sequence[str]) -> str:
    """The sampled rows, once per try, with one leaf replaced by what is tried."""
    columns = [f"unnest({list(range(len(tries)))}) AS judge_try"]
    columns += [
        f"unnest([{', '.join(tries)}]::{kinds[index]}[]) AS leaf_{index}"
        if i == index
        else f"leaf_{i}"
        for i in range(len(kinds))
    ]
    return f"SELECT {', '.join(columns)} FROM {_SAMPLE}"

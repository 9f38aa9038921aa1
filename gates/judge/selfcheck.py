"""Tries whether assertions that passed could have failed (rule: no verdict from a constant).

For an assertion that passed, evidence is taken away and changed in admissible ways until it turns red: what its predicate
rests on becomes NULL where it can be, an extreme, or what it is compared with, and what it reads through queries is changed in
the tables behind them. An assertion that nothing turns is UNKNOWN, since it would have passed whatever had been observed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import msgspec
from msgspec import Struct

from chaos.evidence import schema
from gates.judge import corrupting, leaves, tables, worlds
from gates.judge.binding import Bound
from gates.judge.comparator import EqualsQuery
from gates.judge.deciding import Measurement, decide
from gates.judge.leaves import Leaf
from gates.judge.measuring import Evaluated, Expected, evaluate
from gates.judge.plan import AssertPlan, GatePlan
from gates.judge.result import Status
from gates.judge.worlds import EMPTY, OBSERVED, World

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
    left = {i: one for i, one in enumerate(passed) if i not in whys}
    through = {i: one.plan for i, one in left.items() if not _is_direct(one.plan, gate)}
    whys |= _rest_on_nothing(through, gate, bound)
    asked = {i: one for i, one in left.items() if i not in through}
    turned = _turned(list(asked.values()), gate, bound)
    whys |= {i: NOTHING for i, red in zip(asked, turned, strict=True) if not red}
    return [whys.get(index) for index in range(len(passed))]


def _is_direct(plan: AssertPlan, gate: GatePlan) -> bool:
    """Whether it looks at the rows of one table of evidence, and at nothing else."""
    return not gate.behind(plan) and not isinstance(plan.comparator, EqualsQuery)


def _rest_on_nothing(plans: dict[int, AssertPlan], gate: GatePlan, bound: Bound) -> dict[int, str]:
    """For what is read through queries, or compared with one: with the tables empty it must not pass.

    And with other evidence in them it must fail: rows that hold something else, more of them, fewer of them.
    """
    emptied = dict(zip(plans, _of_nothing(list(plans.values()), gate, bound), strict=True))
    whys = {i: NO_EVIDENCE for i, status in emptied.items() if status == "PASS"}
    left = {i: plan for i, plan in plans.items() if i not in whys}
    every = list(dict.fromkeys(one for plan in left.values() for one in _constants(plan, gate)))
    words = frozenset[str]().union(*(_words(plan, gate) for plan in left.values()))

    def whole(plan: AssertPlan, *, named: bool) -> Iterator[World]:
        own, said = _constants(plan, gate), _words(plan, gate)
        return corrupting.whole(bound, plan.reads, own, said, named=named)

    for world in corrupting.together(bound, every, words):
        left = _still(world, left, gate, bound)
    left = _alone(left, lambda plan: whole(plan, named=True), gate, bound)
    for world in corrupting.compared(bound, every, words):
        left = _still(world, left, gate, bound)
    left = _alone(left, lambda plan: corrupting.counted(plan.reads), gate, bound)
    left = _alone(left, lambda plan: whole(plan, named=False), gate, bound)
    return whys | dict.fromkeys(left, ANY_EVIDENCE)


def _alone(
    plans: dict[int, AssertPlan],
    worlds_of: Callable[[AssertPlan], Iterator[World]],
    gate: GatePlan,
    bound: Bound,
) -> dict[int, AssertPlan]:
    """The assertions that fail in none of the worlds which each has to itself."""
    return {
        index: plan
        for index, plan in plans.items()
        if all(_still(world, {index: plan}, gate, bound) for world in worlds_of(plan))
    }


def _constants(plan: AssertPlan, gate: GatePlan) -> list[tuple[str, str]]:
    """All that the SQL of an assertion compares with, that of its queries too."""
    own = [*plan.constants, *(one for query in gate.behind(plan) for one in query.constants)]
    return list(dict.fromkeys(own))


def _words(plan: AssertPlan, gate: GatePlan) -> frozenset[str]:
    """All words of the SQL of an assertion, that of its queries too."""
    texts = [plan.source, plan.expression, *(query.text for query in gate.behind(plan))]
    return frozenset(re.findall(r"\w+", " ".join(texts).lower()))


def _still(
    world: World, plans: dict[int, AssertPlan], gate: GatePlan, bound: Bound
) -> dict[int, AssertPlan]:
    """The assertions that do not fail in a world."""
    if not plans:
        return plans
    # One violating row is one, however few there are besides.
    asked = [
        msgspec.structs.replace(plan, assertion=msgspec.structs.replace(plan.assertion, at_least=1))
        if plan.test in ("every", "none")
        else plan
        for plan in plans.values()
    ]
    found = _statuses(world, asked, gate, bound)
    return {i: plans[i] for i, status in zip(plans, found, strict=True) if status != "FAIL"}


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
    found = (*plan.split.leaves, *plan.where_leaves)
    return tuple(leaf.type or columns.get(leaf.column, "VARCHAR") for leaf in found)


def _may_be_null(plan: AssertPlan, leaf: Leaf) -> bool:
    """Whether evidence can be NULL there; what lies inside of JSON can always be absent."""
    if leaf.type is not None:
        return True
    optional, _ = schema.admissible(plan.relation).get(leaf.column, (True, ()))
    return optional and leaf.column not in leaves.COMMON


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
_Key = tuple[str, tuple[str, ...]]
_answers_of_nulls: dict[_Key, Holds] = {}


def _key(plan: AssertPlan, bound: Bound) -> _Key:
    """What is asked of NULLs: nothing where evidence cannot be NULL there, or the population has none of it."""
    own = plan.split.leaves
    open_ = all(_may_be_null(plan, leaf) for leaf in own) and not plan.where_constrains
    return (plan.rewritten if open_ else "", _types(plan, bound)[: len(own)])


def _of_nulls(plans: Sequence[AssertPlan], bound: Bound) -> list[Holds]:
    """What predicates say when all that they rest on is NULL; no evidence is in that, so it is asked once."""
    keys = [_key(plan, bound) for plan in plans]
    if len(_answers_of_nulls) > _MOST_KNOWN:
        _answers_of_nulls.clear()
    unknown = list(dict.fromkeys(key for key in keys if key not in _answers_of_nulls))
    tries = []
    for number, (rewritten, kinds) in enumerate(unknown):
        if not rewritten:
            continue
        nulls = ", ".join(f"NULL::{kind} AS leaf_{index}" for index, kind in enumerate(kinds))
        tries.append(_Try(f"SELECT {number}, ({rewritten})::BOOLEAN FROM (SELECT {nulls})"))
    _answers_of_nulls.update((key, []) for key in unknown)
    for number, holds in _rows(bound, "", tries):
        _answers_of_nulls[unknown[number]].append(holds)
    return [_answers_of_nulls[key] for key in keys]


def _of_leaves(plan: AssertPlan, gate: GatePlan, bound: Bound) -> Holds:
    """What a predicate says of recorded rows in which one leaf after the other is replaced by all that is tried.

    Rows that leave the population by that are no matter. Where one raises, the others are taken, but no NULL: it may be the error.
    """
    kinds = _types(plan, bound)
    tries = []
    for index in range(len(plan.split.leaves)):
        own = _tries(plan, kinds, index)
        if not own:
            continue
        rows = f"{_with_leaf(kinds, index, own)}"
        told = f"SELECT DISTINCT TRY({plan.rewritten})::BOOLEAN AS holds FROM ({rows}) WHERE TRY({plan.where_rewritten})"
        sql = f"SELECT DISTINCT ({plan.rewritten})::BOOLEAN FROM ({rows}) WHERE {plan.where_rewritten}"
        tries.append(_Try(sql, (f"FROM ({told}) WHERE holds IS NOT NULL",)))
    return [holds for (holds,) in _rows(bound, _sampled(plan, gate, bound, 3), tries)]


def _breaks(one: Passed, gate: GatePlan, bound: Bound) -> bool:
    """Whether an aggregate misses its bound over corrupted rows, or over more or fewer of them."""
    # The bounds of a percentile are those of a sample; here it is enough that its value breaks the limit.
    plan = msgspec.structs.replace(one.plan, quantile=None)
    tried = _counts(one) if plan.is_count else []
    if _any_fails(plan, one, tried):
        return True
    return any(_any_fails(plan, one, found) for found in _values(plan, gate, bound))


def _counts(one: Passed) -> list[tuple[int, object]]:
    """What a plain count comes to: it can be any number of rows."""
    least, rows = one.plan.assertion.at_least, one.measured.rows
    return [(count, count) for count in (least, max(least, rows - 1), rows + 1, 10**12)]


def _any_fails(plan: AssertPlan, one: Passed, found: Sequence[tuple[int, object]]) -> bool:
    return any(
        decide(plan, Measurement(rows, rows, rows, value=value), one.expected).status == "FAIL"
        for rows, value in found
    )


def _values(plan: AssertPlan, gate: GatePlan, bound: Bound) -> Iterator[list[tuple[int, object]]]:
    """The aggregate over no fewer rows than it needs, once per try for each leaf; then over more of them, and fewer."""
    kinds = _types(plan, bound)
    least = plan.assertion.at_least
    sampled = _sampled(plan, gate, bound, max(_SAMPLE_ROWS, least))
    over = f"SELECT count(*), ({plan.rewritten}) FROM"
    tries = []
    for index in range(len(plan.split.leaves)):
        own = _tries(plan, kinds, index)
        whole, *pieces = (
            f"{over} ({_with_leaf(kinds, index, some)}) WHERE {plan.where_rewritten} GROUP BY judge_try"
            for some in (own, *([one] for one in own))
        )
        tries.append(_Try(whole, tuple(pieces)))
    yield _rows(bound, sampled, tries)
    fewer = f"{over} (FROM {_SAMPLE} LIMIT {least})"
    twice = f"{over} (FROM {_SAMPLE} UNION ALL FROM {_SAMPLE})"
    yield _rows(bound, sampled, [_Try(fewer), _Try(twice)])
    many = f"{over} (SELECT s.* FROM {_SAMPLE} AS s, range({_MANIFOLD}))"
    yield _rows(bound, sampled, [_Try(many)])


_SAMPLE = '"judge\'s sample"'
_MANIFOLD = 1000


def _sampled(plan: AssertPlan, gate: GatePlan, bound: Bound, rows: int) -> str:
    """The WITH clause for some recorded rows of an assertion's leaves."""
    leaf_sql = (*plan.leaf_sql, *plan.where_leaf_sql)
    originals = "".join(f", {sql} AS leaf_{i}" for i, sql in enumerate(leaf_sql))
    sql = f"SELECT row_number() OVER () AS judge_row{originals} FROM {plan.source}\n LIMIT {rows}"
    named = worlds.named(OBSERVED, [plan], gate, bound)
    return worlds.clause({**named, _SAMPLE: sql})


def _tries(plan: AssertPlan, kinds: Sequence[str], index: int) -> list[str]:
    """What may stand in the place of a leaf."""
    leaf = plan.split.leaves[index]
    if leaf.column in leaves.COMMON and leaf.type is None:
        return [f"leaf_{index}"]
    null = ["NULL"] if _may_be_null(plan, leaf) else []
    _, words = schema.admissible(plan.relation).get(leaf.column, (True, ()))
    if words and leaf.type is None:
        return [*null, *map(tables.literal, words)]
    other = leaves.corruptions(kinds[index], f"leaf_{index}", plan.constants)
    return [*null, *(f"coalesce({value}, leaf_{index})" for value in other)]


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

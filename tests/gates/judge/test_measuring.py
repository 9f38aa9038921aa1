"""All assertions of a gate are measured in one statement, with the results that each has alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import duckdb
import pytest

from gates.judge import binding
from gates.judge.compiler import compile_gate
from gates.judge.connection import Evidence
from gates.judge.measuring import Evaluated, evaluate
from gates.judge.plan import GatePlan
from gates.judge.worlds import EMPTY, HALF, OBSERVED, TURNED, TWICE
from gates.spec.assertion import Assertion, Named
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

Shipped = Callable[..., Evidence]

PLAIN = [
    {"every": "status = 200"},
    {"every": "requests.status = 200 AND Seq >= 0"},
    {"none": "status >= 500", "from_": "requests where method = 'GET' -- all of them"},
    {"share": "latency_ms < 500", "is_": ">= 0.9"},
    {"value": "max(latency_ms)", "is_": "< 500"},
    {"value": "count(*)", "is_": "= (select count(*) from requests)"},
    {"value": "min(path)", "is_": ">= 0"},
    {"value": "quantile_cont(latency_ms, 0.5)", "is_": "<= 5000"},
    {"every": "outcome = 'ok'", "from_": "steps", "at_least": 2},
]
OVER_QUERIES = [
    {"every": "status = 200", "from_": "answers", "at_least": 3},
    {"share": "n > 0", "from_": "doubled", "is_": ">= 0.5", "at_least": 1},
    {"value": "sum(n)", "from_": "doubled", "is_": ">= 1", "at_least": 1},
]
BROKEN = {"every": "error::INTEGER = 3 or path::INTEGER = 1"}
QUERIES = {
    "answers": Named(query="select seq, status from requests where status > 0", at_least=1),
    "doubled": Named(
        query="select 1 as n from requests union all select 1 from requests", at_least=1
    ),
}


def many(*changes: dict[str, object]) -> list[Assertion]:
    return [assertion(that=str(index), **change) for index, change in enumerate(changes)]


@pytest.fixture
def evidence(plain_run: Path, shipped: Shipped) -> Evidence:
    return shipped(plain_run)


def bound_plan(
    evidence: Evidence, *changes: dict[str, object]
) -> Iterator[tuple[GatePlan, binding.Bound]]:
    uses = any(str(change.get("from_")) in QUERIES for change in changes)
    plan = compile_gate(evidence.connection, judged(*many(*changes), with_=QUERIES if uses else {}))
    assert not plan.problems
    (record,) = evidence.runs_of("demo")
    with binding.bound(evidence, plan, record.key) as bound:
        yield plan, bound


@pytest.mark.parametrize("world", [OBSERVED, EMPTY, TURNED, TWICE, HALF])
@pytest.mark.parametrize("changes", [PLAIN, [*PLAIN, *OVER_QUERIES], [*PLAIN, BROKEN]])
def test_together_and_alone_give_the_same(
    evidence: Evidence, world: object, changes: list[dict[str, object]]
) -> None:
    for plan, bound in bound_plan(evidence, *changes):
        plans = [own for own in plan.asserts if own]
        together = evaluate(world, plans, plan, bound)
        alone = [seen for own in plans for seen in evaluate(world, [own], plan, bound)]
        assert len(together) == len(changes)
        assert list(map(str, together)) == list(map(str, alone))


def test_it_is_one_statement_and_more_only_when_it_fails(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    for changes, statements in ((PLAIN[:4], 1), ([*PLAIN[:4], BROKEN], 1 + 5)):
        for plan, bound in bound_plan(evidence, *changes):
            plans = [own for own in plan.asserts if own]
            counting = Mock(wraps=bound.connection)
            evaluate(
                OBSERVED, plans, plan, binding.Bound(**{**_fields(bound), "connection": counting})
            )
            assert counting.execute.call_count == statements


def _fields(bound: binding.Bound) -> dict[str, object]:
    return {name: getattr(bound, name) for name in bound.__struct_fields__}


def test_one_that_fails_takes_no_other_with_it(evidence: Evidence) -> None:
    for plan, bound in bound_plan(evidence, PLAIN[0], BROKEN):
        good, bad = evaluate(OBSERVED, [own for own in plan.asserts if own], plan, bound)
        assert isinstance(good, Evaluated)
        assert isinstance(bad, duckdb.Error)


def test_values_keep_their_own_types(evidence: Evidence) -> None:
    exact = {"value": "sum(1.1::DECIMAL(9,2))", "is_": "= 22", "from_": "requests"}
    plans = [
        exact,
        {"value": "max(latency_ms)", "is_": "< 500"},
        {"value": "count(*)", "is_": "= 20"},
    ]
    for plan, bound in bound_plan(evidence, *plans):
        found = evaluate(OBSERVED, [own for own in plan.asserts if own], plan, bound)
        kinds = [
            type(seen.measured.value).__name__ for seen in found if isinstance(seen, Evaluated)
        ]
        assert kinds == ["Decimal", "float", "int"]


def test_only_the_columns_that_are_named_are_copied(evidence: Evidence) -> None:
    for plan, bound in bound_plan(evidence, OVER_QUERIES[0], PLAIN[0]):
        del plan
        assert bound.tables["requests"].columns == ["seq", "status"]
        assert bound.tables["requests"].kept


def test_nothing_is_copied_for_a_gate_without_queries(evidence: Evidence) -> None:
    for plan, bound in bound_plan(evidence, *PLAIN):
        del plan
        assert not bound.tables["requests"].kept
        with pytest.raises(duckdb.Error):
            bound.connection.execute("FROM requests")


def test_violating_rows_are_shown_whole(
    evidence: Evidence,
) -> None:
    wrong = judged(
        assertion(every="status = 201"),
        assertion(that="b", every="n = 1", from_="doubled", at_least=1),
        with_={"doubled": QUERIES["doubled"]},
    )
    result = verdict_of(evidence, wrong).assertions[0]
    assert result.rows[0]["path"] == "/x"


def test_other_runs_are_not_seen(new_run: Callable[..., Run], shipped: Shipped) -> None:
    here = new_run().plain(12).close()
    others = [
        new_run(gate="other").plain(20, status=500).close(),
        new_run(run_id="run-2").begin(mode="defect", defect="x").request(status=500).end().close(),
    ]
    verdict = verdict_of(shipped(here, *others), judged(assertion(every="status = 200")))
    assert (verdict.status, verdict.assertions[0].population) == ("PASS", 12)


def test_a_table_that_is_missing_is_unknown(evidence: Evidence) -> None:
    evidence.unread["requests"] = "the table requests is missing"
    verdict = verdict_of(evidence, judged(assertion(every="status = 200")))
    assert verdict.assertions[0].status == "UNKNOWN"
    assert "not in the evidence" in verdict.assertions[0].why


def test_two_queries_whose_columns_are_called_like_marks(evidence: Evidence) -> None:
    queries = {
        "a": Named(query="""select seq, status as "judge's 1" from requests""", at_least=1),
        "b": Named(query="select seq, path from requests", at_least=1),
    }
    plan = compile_gate(
        evidence.connection,
        judged(assertion(from_="a", every='seq >= 0 and "judge\'s 1" = 200'), with_=queries),
    )
    (record,) = evidence.runs_of("demo")
    with binding.bound(evidence, plan, record.key) as bound:
        assert bound.columns["a"] == {"seq": "BIGINT", "judge's 1": "BIGINT"}
        assert bound.columns["b"] == {"seq": "BIGINT", "path": "VARCHAR"}

"""A plain assertion that passes is judged without its table being bound, with the same result."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from gates.judge import assertions, binding
from gates.judge.connection import Evidence
from gates.spec.assertion import Assertion, Named
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

NewRun = Callable[..., Run]
Shipped = Callable[..., Evidence]

PLAIN = [
    {"every": "status = 200"},
    {"every": "requests.status = 200 AND Seq >= 0"},
    {"every": "response->>'$.n' = '3'"},
    {"every": "latency_ms < 500 and len(during) = 0"},
    {"every": "len(list_filter(touched, lambda x: x <> 'outage')) = 0"},
    {"none": "status >= 500", "from_": "requests where method = 'GET' -- all of them"},
    {"every": "status = 200", "from_": "requests where requests.path = '/x' and done_ms > sent_ms"},
    {"share": "status = 200", "is_": ">= 0.9"},
    {"every": "outcome = 'ok'", "from_": "steps", "at_least": 2},
]
MORE_TO_IT = [
    {"every": "status = 201"},
    {"every": "status = 200", "at_least": 21},
    {"every": "status = 200 or true"},
    {"none": "error is not null"},
    {"value": "count(*)", "is_": "= 20"},
    {"every": "status = 200", "from_": "requests where status = 'x'"},
]


def both(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, *asserts: Assertion
) -> tuple[object, object]:
    spec = judged(*asserts)
    at_a_glance = verdict_of(evidence, spec)
    monkeypatch.setattr(binding, "FEW", -1)
    return at_a_glance, verdict_of(evidence, spec)


@pytest.mark.parametrize("changes", [*PLAIN, *MORE_TO_IT])
def test_the_result_is_the_same(
    plain_run: Path,
    shipped: Shipped,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
) -> None:
    glanced, judged_in_full = both(shipped(plain_run), monkeypatch, assertion(**changes))
    assert glanced == judged_in_full


@pytest.mark.parametrize("changes", PLAIN)
def test_nothing_is_bound_for_it(
    plain_run: Path,
    shipped: Shipped,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
) -> None:
    monkeypatch.setattr(Evidence, "bind", _refuse)
    verdict = verdict_of(shipped(plain_run), judged(assertion(**changes)))
    assert verdict.assertions[0].status == "PASS"


def test_one_that_has_more_to_it_has_all_of_them_judged_in_full(
    plain_run: Path, shipped: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = assertion(every="status = 200"), assertion(that="n", value="count(*)", is_="= 20")
    glanced, judged_in_full = both(shipped(plain_run), monkeypatch, *spec)
    assert glanced == judged_in_full


def test_other_runs_are_not_seen(new_run: NewRun, shipped: Shipped) -> None:
    here = new_run().plain(12).close()
    others = [
        new_run(gate="other").plain(20, status=500).close(),
        new_run(run_id="run-2").begin(mode="defect", defect="x").request(status=500).end().close(),
    ]
    verdict = verdict_of(shipped(here, *others), judged(assertion(every="status = 200")))
    assert (verdict.status, verdict.assertions[0].population) == ("PASS", 12)


def test_it_is_for_gates_without_queries(
    plain_run: Path, shipped: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assertions, "glance", _refuse)
    query = {"w": Named(query="select seq, status from requests", at_least=1)}
    spec = judged(assertion(every="status = 200", from_="w"), with_=query)
    assert verdict_of(shipped(plain_run), spec).status == "PASS"


def test_a_table_that_is_missing_is_unknown(plain_run: Path, shipped: Shipped) -> None:
    evidence = shipped(plain_run)
    evidence.missing.add("requests")
    verdict = verdict_of(evidence, judged(assertion(every="status = 200")))
    assert verdict.assertions[0].status == "UNKNOWN"


def _refuse(*_: object, **__: object) -> None:
    raise duckdb.Error("not for this one")

"""Assertions that would have passed whatever had been observed are UNKNOWN."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from gates.judge import corrupting, measuring, selfcheck
from gates.judge.connection import Evidence
from gates.judge.result import AssertionResult
from gates.judge.worlds import World
from gates.spec.assertion import Named
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

ResultOf = Callable[..., AssertionResult]


@pytest.mark.parametrize(
    "changes",
    [
        {"every": "status = 200 or true"},
        {"every": "status is null or status is not null"},
        {"every": "coalesce(status, 200) = coalesce(status, 200)"},
        {"every": "status::VARCHAR is not null or actor is null or actor is not null"},
        {"none": "status = 200 and false"},
        {"none": "status is null and status is not null"},
        {"share": "coalesce(status >= 0 or status < 0, true)", "is_": ">= 0.5"},
        {"value": "count(*)", "is_": ">= 1"},
        {"value": "count(*)", "is_": "> 9"},
        {"value": "max(latency_ms) * 0", "is_": "= 0"},
        {"value": "count(distinct status) * 0 + 3", "is_": "= 3"},
        {"value": "greatest(max(latency_ms), 5)", "is_": ">= 5"},
    ],
)
def test_an_assertion_that_nothing_turns_red_is_unknown(
    plain_run: Path, result_of: ResultOf, changes: dict[str, object]
) -> None:
    result = result_of(plain_run, assertion(**changes))
    assert result.status == "UNKNOWN"
    assert "it cannot fail" in result.why


@pytest.mark.parametrize(
    "changes",
    [
        {"every": "status = 200"},
        {"every": "error is null"},
        {"none": "error is not null"},
        {"none": "response->>'$.error' is not null"},
        {"none": "coalesce(response->>'$.error', '') <> ''"},
        {"every": "done_ms is null or done_ms - sent_ms < 500"},
        {"every": "response->>'$.error' is null or (response->>'$.retries')::INTEGER > 3"},
        {"every": "len(touched) = 0"},
        {"none": "'outage' in during"},
        {"every": "path not like '%secret%'"},
        {"none": "regexp_matches(response::VARCHAR, 'sonia_[a-z]+')"},
        {"every": "status in (200, 201)"},
        {"every": "coalesce(status, 200) not in (500, 503)"},
        {"every": "not coalesce((response->>'$.degraded')::BOOLEAN, false)"},
        {"share": "coalesce(status, 500) < 500", "is_": ">= 0.9"},
        {"share": "status >= 500", "is_": "<= 0.1"},
        {"share": "coalesce(status, 0) >= 500", "is_": "between 0 and 0.1"},
        {"value": "count(*)", "is_": "= 20"},
        {"value": "count(*)", "is_": "<= 1000"},
        {"value": "max(latency_ms)", "is_": "< 500"},
        {"value": "max(latency_ms)", "is_": ">= 0.5"},
        {"value": "count(distinct actor)", "is_": "= 1"},
        {"value": "regr_slope(latency_ms, sent_ms)", "is_": "< 0.5"},
        {"value": "stddev_pop(latency_ms)", "is_": "< 5"},
        {"value": "sum((response->>'$.n')::INTEGER)", "is_": "= 60"},
        {"value": "count(*) filter (where coalesce(status, 0) >= 500)", "is_": "<= 2"},
        {"value": "max(len(touched))", "is_": "<= 0"},
    ],
)
def test_an_assertion_that_can_fail_passes(
    plain_run: Path, result_of: ResultOf, changes: dict[str, object]
) -> None:
    result = result_of(plain_run, assertion(**changes))
    assert (result.status, result.why) == ("PASS", result.why)


@pytest.mark.parametrize(
    ("query", "every"),
    [
        ("select seq, 200 as status from requests", "status = 200"),
        (
            "select seq, coalesce(status, 200) as status from requests where status is null or status = 200",
            "status = 200",
        ),
        (
            "select m.n, 200 as status from fixed m left join requests r on r.seq = m.n",
            "status = 200",
        ),
        (
            "select m.n, m.n + 199 as status from fixed m, (select count(*) from requests)",
            "status < 300",
        ),
    ],
)
def test_a_query_that_hides_a_constant_is_found_out(
    plain_run: Path, result_of: ResultOf, query: str, every: str
) -> None:
    fixed: list[dict[str, object]] = [{"n": number} for number in range(1, 12)]
    spec = assertion(from_="w", every=every)
    result = result_of(
        plain_run, spec, with_={"w": Named(query=query, at_least=1)}, data={"fixed": fixed}
    )
    assert (result.status, "it cannot fail" in result.why) == ("UNKNOWN", True)


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("select count(*) as n from requests", {"every": "n = 20", "at_least": 1}),
        ("select seq, status from requests where load is null", {"every": "status = 200"}),
        (
            "select f.n, r.status from fixed f left join requests r on r.seq = f.n",
            {"every": "status = 200"},
        ),
        (
            "select actor, count(*) as n from requests group by actor",
            {"every": "n = 20", "at_least": 1},
        ),
        (
            "select a.seq, b.status from requests a join requests b on b.seq = a.seq",
            {"value": "count(*)", "is_": "= 20"},
        ),
    ],
)
def test_a_query_that_depends_on_the_evidence_passes(
    plain_run: Path, result_of: ResultOf, query: str, changes: dict[str, object]
) -> None:
    fixed: list[dict[str, object]] = [{"n": number} for number in range(1, 12)]
    named = {"w": Named(query=query, at_least=1)}
    result = result_of(
        plain_run, assertion(from_="w", **changes), with_=named, data={"fixed": fixed}
    )
    assert (result.status, result.why) == ("PASS", result.why)


@pytest.mark.parametrize(
    ("at_once", "order"),
    [(corrupting.together, ["mixed 0", "named 0"]), (lambda *_: (), ["requests.status"])],
)
def test_what_the_sql_names_is_tried_first(
    plain_run: Path,
    result_of: ResultOf,
    monkeypatch: pytest.MonkeyPatch,
    at_once: Callable[..., Iterable[World]],
    order: list[str],
) -> None:
    """A table has thirty columns and more: many in one statement take long, and each in its own takes longer."""
    tried = []

    def evaluate(world: World, *rest: Any) -> list[Any]:
        tried.append(world.name)
        return measuring.evaluate(world, *rest)

    monkeypatch.setattr(selfcheck, "evaluate", evaluate)
    monkeypatch.setattr(corrupting, "together", at_once)
    named = {"w": Named(query="select *, status = 200 as good from requests", at_least=5)}
    spec = assertion(from_="w", share="good", is_=">= 0.9")
    assert result_of(plain_run, spec, with_=named).status == "PASS"
    counts = {f"{name} of requests" for name in ("twice", "half", "tail")}
    assert [name for name in tried if name not in {"empty", *counts}] == order


@pytest.mark.parametrize("mode", ["defect", "sham"])
def test_a_run_of_an_edited_system_is_asked_what_fails_and_not_what_could(
    new_run: Callable[..., Run], shipped: Callable[..., Evidence], mode: str
) -> None:
    """What could fail is asked of the copy without a defect, which has to pass."""
    constant = assertion(every="status = 200 or true")
    run = new_run(run_id="edited").begin(mode=mode, defect="x")
    for number in range(20):
        run.request(sent_ms=10.0 + number, done_ms=12.0 + number)
    edited = run.step("control.0").step("scenario.0").end().close()
    evidence = shipped(new_run().plain(20).close(), edited)
    seen = [verdict_of(evidence, judged(constant), run_id=run) for run in ("run-1", "edited")]
    assert [own.assertions[0].status for own in seen] == ["UNKNOWN", "PASS"]


def test_conservation_of_counts_can_fail(new_run: Callable[..., Run], result_of: ResultOf) -> None:
    run = new_run().load("turns", 20).plain(20, load="turns")
    spec = assertion(value="count(*)", is_="= (select sum(sent) from loads)")
    assert result_of(run.close(), spec, loads=["turns"]).status == "PASS"

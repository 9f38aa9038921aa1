"""What passes whatever the evidence is, is no assertion: lint or the judge finds it out, and finds out nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gates.judge.connection import open_blank
from gates.judge.lint import check
from gates.judge.result import AssertionResult
from gates.spec.assertion import Named
from tests.gates.judge.runs import Run, assertion, judged

ResultOf = Callable[..., AssertionResult]
BLANK = open_blank({})


@pytest.fixture
def busy(new_run: Callable[..., Run]) -> Path:
    run = new_run().begin().load("turns", 10)
    for number in range(20):
        run.request(
            step="q" if number % 2 else "other",
            load="turns" if number % 2 else None,
            path=f"/x{number}",
            response={"id": number, "ok": "yes", "items": [1, 2]},
            headers={"x-request-id": f"id-{number}"},
            sent_ms=10.0 + number,
            done_ms=12.0 + number,
        )
    return run.step("control.0").step("scenario.0").end().close()


CONSTANT: list[dict[str, object]] = [
    {"value": "count(*) - count(*)", "is_": "= 0"},
    {"value": "max(1)", "is_": "= 1"},
    {"value": "count(*) * 0", "is_": "= 0"},
    {"value": "min(5) + max(5)", "is_": "= 10"},
    {"value": "count(*) / count(*)", "is_": "= 1"},
]


@pytest.mark.parametrize("changes", CONSTANT)
def test_a_value_that_is_always_the_same_is_refused(changes: dict[str, object]) -> None:
    found = check(BLANK, judged(assertion(**changes)))[0]
    assert [problem.kind for problem in found] == ["constant"]


ALWAYS: list[dict[str, object]] = [
    {"value": "sum(if(status = 200, 1, 1))", "is_": ">= 5"},
    {"value": "count(*) filter (where status = 200 or true)", "is_": ">= 5"},
    {"value": "count(*) filter (where status = 200 or status is distinct from 200)", "is_": ">= 5"},
    {"value": "min(seq)", "is_": ">= 0"},
    {"value": "count(distinct run_id)", "is_": "= 1"},
    {"value": "count(distinct gate)", "is_": ">= 1"},
    {"value": "max(length(path))", "is_": ">= 0"},
    {"value": "min(len(during))", "is_": ">= 0"},
    {"value": "count(*) filter (where length(path) < 0)", "is_": "= 0"},
    {"value": "sum(case when length(path) >= 0 then 1 else 0 end)", "is_": ">= 5"},
    {"value": "max(status) - max(status)", "is_": "= 0"},
    {"value": "count(path)", "is_": ">= 5"},
    {"value": "count(*)", "is_": ">= 5"},
    {"value": "count(*)", "is_": "= (select count(*) from requests)"},
    {"value": "max(status)", "is_": "= (select max(status) from requests)"},
    {"value": "count(*)", "is_": "= (select count(*) - 0 from requests where true)"},
    {"value": "count(distinct path)", "is_": "= (select count(distinct path) from requests)"},
    {"every": "length(path) >= 0"},
    {"every": "len(during) >= 0"},
    {"every": "len(touched) < 1000000000"},
    {"every": "path is not null"},
    {"every": "step is not null"},
    {"every": "sent_ms is not null and intended_ms is not null"},
    {"every": "outcome in ('ok', 'error', 'info')"},
    {"every": "outcome is not null"},
    {"every": "vars is not null"},
    {"every": "during is not null"},
    {"every": "method is not null or route is not null"},
    {"none": "length(path) < 0"},
    {"none": "path is null"},
    {"share": "length(method) >= 0", "is_": ">= 0.9"},
    {"share": "touched is null", "is_": "<= 0.1"},
    {"from_": "requests where status = 200", "every": "status >= 200"},
    {"from_": "requests where status = 200", "every": "status < 500"},
    {"from_": "requests where step = 'q'", "every": "length(step) = 1"},
    {"from_": "requests where outcome = 'ok'", "none": "outcome = 'error'"},
    {"from_": "requests where status between 200 and 299", "none": "status >= 500"},
    {"from_": "requests where status = 200", "value": "max(status)", "is_": "< 500"},
]  # fmt: skip


@pytest.mark.parametrize("changes", ALWAYS)
def test_what_nothing_turns_red_is_unknown(
    busy: Path, result_of: ResultOf, changes: dict[str, object]
) -> None:
    result = result_of(busy, assertion(**({"at_least": 5} | changes)), loads=["turns"])
    assert (result.status, "it cannot fail" in result.why) == ("UNKNOWN", True), result.why


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("select seq, true as ok from requests where status = 200", {"every": "ok"}),
        ("select seq, path = path as ok from requests", {"every": "ok"}),
        ("select seq, length(path) as n from requests", {"every": "n >= 0"}),
        ("select seq, path from requests", {"every": "path is not null"}),
        ("select seq, len(during) as n from requests", {"every": "n >= 0"}),
        ("select seq, status from requests where status = 200", {"every": "status = 200"}),
        ("select seq, status from requests where status = 200", {"none": "status >= 500"}),
        ("select seq, coalesce(status, 200) as s from requests where status = 200", {"every": "s = 200"}),
        ("select step, count(*) as n from requests group by step", {"every": "n > 0", "at_least": 2}),
        ("select step, count(*) as n from requests group by step", {"every": "n >= 1", "at_least": 2}),
        ("select seq, exists (select 1 from requests) as any_of from requests", {"every": "any_of"}),
        ("select seq, case when status >= 0 then 1 else 1 end as n from requests", {"every": "n = 1"}),
        ("select a.seq, a.path = b.path as same from requests a join requests b on a.seq = b.seq", {"every": "same"}),
        ("select seq, status from requests", {"value": "count(*) - count(*)", "is_": "= 0"}),
        ("select seq, status from requests", {"value": "count(*)", "is_": "= (select count(*) from w)"}),
        ("select seq, status from requests", {"value": "count(*)", "is_": "= (select count(*) from requests)"}),
    ],
)  # fmt: skip
def test_nor_does_a_query_hide_it(
    busy: Path, result_of: ResultOf, query: str, changes: dict[str, object]
) -> None:
    spec = assertion(**({"from_": "w", "at_least": 5} | changes))
    named = {"w": Named(query=query, at_least=1)}
    result = result_of(busy, spec, with_=named, loads=["turns"])
    assert result.status == "UNKNOWN", result.why


FAIR: list[dict[str, object]] = [
    {"every": "status = 200"},
    {"every": "actor = 'operator'"},
    {"every": "outcome = 'ok'"},
    {"every": "done_ms is not null"},
    {"every": "len(touched) = 0"},
    {"every": "path like '/x%'"},
    {"every": "response->>'$.ok' = 'yes'"},
    {"every": "json_array_length(response, '$.items') = 2"},
    {"every": "service_ms < 500"},
    {"none": "status >= 500"},
    {"none": "error is not null"},
    {"none": "response->>'$.error' is not null"},
    {"from_": "requests where status >= 200", "every": "status = 200"},
    {"from_": "requests where status is not null", "every": "status < 500"},
    {"from_": "requests where response is not null", "every": "response->>'$.ok' = 'yes'"},
    {"from_": "requests where step = 'q'", "every": "load = 'turns'"},
    {"share": "status = 200", "is_": ">= 0.9"},
    {"share": "status >= 500", "is_": "<= 0.1"},
    {"value": "count(*)", "is_": "= 20"},
    {"value": "count(*)", "is_": "<= 1000"},
    {"value": "count(*) filter (where status >= 500)", "is_": "= 0"},
    {"value": "count(*) filter (where status = 200)", "is_": ">= 5"},
    {"value": "count(distinct path)", "is_": "= 20"},
    {"value": "max(latency_ms)", "is_": "< 500"},
    {"value": "sum(if(status = 200, 1, 0))", "is_": ">= 5"},
    {"value": "count(*)", "from_": "requests where load = 'turns'", "is_": "= (select sum(sent) from loads)"},
    {"value": "count(*)", "from_": "requests where step = 'q'", "is_": "= (select count(*) from requests where step = 'other')"},
]  # fmt: skip


@pytest.mark.parametrize("changes", FAIR)
def test_what_can_fail_passes(busy: Path, result_of: ResultOf, changes: dict[str, object]) -> None:
    result = result_of(busy, assertion(**({"at_least": 5} | changes)), loads=["turns"])
    assert (result.status, result.why) == ("PASS", result.why)


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("select seq, status = 200 as ok from requests", {"every": "ok"}),
        ("select seq, status from requests", {"every": "status = 200"}),
        ("select seq, response->>'$.ok' as ok from requests", {"every": "ok = 'yes'"}),
        ("select seq, coalesce(response->>'$.error', '') as e from requests", {"every": "e <> 'internal'"}),
        ("select count(*) as n from requests", {"every": "n = 20", "at_least": 1}),
        ("select step, count(*) as n from requests group by step", {"every": "n = 10", "at_least": 2}),
        ("select a.seq, b.path from requests a join requests b on a.seq = b.seq", {"every": "path like '/x%'"}),
        ("select r.seq, l.sent from requests r join loads l on l.load = r.load", {"every": "sent = 10"}),
        ("select seq, path, min(path) over (partition by step) as least from requests", {"every": "path >= '/x' and least < '/y'"}),
        ("select seq, status from requests where step = 'q'", {"value": "count(*)", "is_": "= 10"}),
        ("select seq, status from requests", {"value": "max(status)", "is_": "< 500"}),
        ("select seq, vars, path as id from requests", {"value": "count(distinct id)", "is_": "= 20"}),
        ("select seq, list_sort(list_transform(during, lambda d: d || '!')) as d from requests", {"every": "len(d) = 0"}),
    ],
)  # fmt: skip
def test_what_can_fail_through_a_query_passes(
    busy: Path, result_of: ResultOf, query: str, changes: dict[str, object]
) -> None:
    spec = assertion(**({"from_": "w", "at_least": 5} | changes))
    named = {"w": Named(query=query, at_least=1)}
    result = result_of(busy, spec, with_=named, loads=["turns"])
    assert (result.status, result.why) == ("PASS", result.why)

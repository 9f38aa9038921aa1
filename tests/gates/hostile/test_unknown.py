"""An answer that never came is unknown: it helps nothing to pass, however NULL is turned into something else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gates.judge import measuring, unknowns
from gates.judge.lint import sql_problems
from gates.judge.result import AssertionResult
from gates.spec.assertion import Named
from tests.gates.judge.runs import Run, assertion, judged

ResultOf = Callable[..., AssertionResult]
INFO = {"status": None, "outcome": "info", "error": "connection reset", "response": None, "headers": None}  # fmt: skip


@pytest.fixture
def killed(new_run: Callable[..., Run]) -> Path:
    """Ten requests are answered, ten are not, of which five have not even an end; a command was killed."""
    run = new_run().begin()
    for number in range(10):
        run.request(
            step="alive", status=201, path=f"/a{number}", response={"id": number, "ok": "yes"}
        )
    for _ in range(5):
        run.request(step="dead", **INFO)
    for _ in range(5):
        run.request(step="dead", answered=False)
    return run.step("control.0").step("scenario.0").end().close()


def query(text: str, **changes: object) -> tuple[dict[str, Named], dict[str, object]]:
    return {"w": Named(query=text, at_least=1)}, {"from_": "w", "at_least": 5} | changes


DEAD = "requests where step = 'dead'"
DIRECT: list[dict[str, object]] = [
    {"from_": DEAD, "every": "coalesce(status, 200) = 200"},
    {"from_": DEAD, "every": "ifnull(status, 200) < 300"},
    {"from_": DEAD, "every": "status is distinct from 500"},
    {"from_": DEAD, "none": "coalesce(status, 0) >= 500"},
    {"from_": DEAD, "none": "coalesce(status >= 500, false)"},
    {"from_": DEAD, "every": "case when status >= 500 then false else true end"},
    {"from_": DEAD, "every": "case status when 500 then false else true end"},
    {"from_": DEAD, "every": "if(status = 500, false, true)"},
    {"from_": DEAD, "every": "greatest(status, 200) = 200"},
    {"from_": DEAD, "every": "least(status, 499) < 500"},
    {"from_": DEAD, "every": "nullif(status, 500) is null"},
    {"from_": DEAD, "every": "concat(status, '') <> '500'"},
    {"from_": DEAD, "every": "not list_contains([status], 500)"},
    {"from_": DEAD, "every": "len(list_filter([status], lambda s: s >= 500)) = 0"},
    {"from_": DEAD, "every": "coalesce(response->>'$.error', '') = ''"},
    {"from_": DEAD, "every": "response->>'$.error' is null"},
    {"from_": DEAD, "none": "response->>'$.error' is not null"},
    {"from_": DEAD, "every": "not coalesce(json_exists(response, '$.error'), false)"},
    {"from_": DEAD, "every": "coalesce(headers->>'$.location', '') = ''"},
    {"from_": DEAD, "every": "coalesce(json_array_length(response, '$.items'), 0) = 0"},
    {"from_": DEAD, "every": "coalesce(response::varchar, '') not like '%secret%'"},
    {"from_": DEAD, "every": "typeof(response) = 'JSON' and coalesce(status, 1) = 1"},
    {"from_": DEAD, "every": "coalesce(try(status + 0), 200) = 200"},
    {"from_": DEAD, "every": "try(coalesce(response->>'$.error', '')) is not distinct from ''"},
    {"from_": DEAD, "share": "coalesce(status, 499) < 500", "is_": ">= 0.5"},
    {"from_": DEAD, "share": "coalesce(status >= 500, false)", "is_": "<= 0.5"},
    {"value": "count(*) filter (where status >= 500)", "is_": "= 0"},
    {"value": "count(case when status >= 500 then 1 end)", "is_": "= 0"},
    {"value": "count_if(status >= 500)", "is_": "= 0"},
    {"value": "sum(if(status >= 500, 1, 0))", "is_": "= 0"},
    {"value": "max(coalesce(status, 0))", "is_": "< 500"},
    {"value": "count(distinct status)", "is_": "= 1"},
    {"value": "count(status)", "is_": "= 10"},
    {"value": "count(distinct response->>'$.ok')", "is_": "= 1"},
    {"value": "max(status)", "is_": "< 500"},
    {"from_": "requests where coalesce(status, 200) = 200 and step = 'dead'", "every": "error is null or error <> ''"},
    {"from_": "requests where status is distinct from 201", "every": "step = 'dead'"},
    {"from_": "requests where status = 201", "none": "step = 'dead'"},
    {"from_": "requests where not coalesce(status >= 500, false)", "value": "count(*)", "is_": "= 20"},
]  # fmt: skip


@pytest.mark.parametrize("changes", DIRECT)
def test_what_was_never_answered_helps_nothing(
    killed: Path, result_of: ResultOf, changes: dict[str, object]
) -> None:
    result = result_of(killed, assertion(**({"at_least": 5} | changes)))
    assert result.status == "UNKNOWN", result.why


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("select seq, coalesce(status, 200) as s from requests", {"every": "s < 300"}),
        ("select seq, status as s from requests", {"every": "coalesce(s, 200) < 300"}),
        ("select seq, status as s from requests", {"every": "s is distinct from 500"}),
        ("select * from requests", {"none": "coalesce(status, 0) >= 500"}),
        ("select seq, step from requests where coalesce(status, 0) < 500", {"value": "count(*)", "is_": "= 20"}),
        ("select seq, step from requests where status >= 500 union all select 100 + seq, kind from steps",
         {"none": "step = 'dead'", "at_least": 2}),
        ("select step, count(*) filter (where status >= 500) as bad from requests group by step", {"every": "bad = 0", "at_least": 2}),
        ("select step, max(status) as worst from requests group by step", {"none": "coalesce(worst, 0) >= 500", "at_least": 2}),
        ("select a.seq, b.seq as other from requests a left join requests b on b.status = a.status and b.step <> a.step",
         {"every": "other is null"}),
        ("select seq, exists (select 1 from requests b where b.status >= 500) as bad from requests", {"none": "bad"}),
        ("select seq, (select count(*) from requests b where b.seq = a.seq and b.status >= 500) as bad from requests a", {"every": "bad = 0"}),
        ("select s.seq, (select count(*) from requests b where b.status >= 500) as bad from steps s", {"every": "bad = 0", "at_least": 2}),
        ("with a as (select seq, status from requests) select seq, coalesce(status, 1) as s from a", {"every": "s < 300"}),
        ("select seq, s from (select seq, status as s from requests)", {"none": "if(s >= 500, true, false)"}),
        ("select c.seq, coalesce(r.status, 200) as s from steps c join requests r on true", {"every": "s < 300", "at_least": 2}),
    ],
)  # fmt: skip
def test_nor_through_a_query(
    killed: Path, result_of: ResultOf, text: str, changes: dict[str, object]
) -> None:
    with_, own = query(text, **changes)
    result = result_of(killed, assertion(**own), with_=with_)
    assert result.status == "UNKNOWN", result.why


FINE: list[dict[str, object]] = [
    {"from_": "requests where outcome = 'ok' and status = 201", "every": "error is null"},
    {"from_": "requests where outcome = 'ok' and status = 201", "every": "response->>'$.ok' = 'yes'"},
    {"from_": "requests where outcome = 'ok'", "every": "coalesce(status, 0) = 201"},
    {"from_": "requests where outcome = 'ok'", "none": "status >= 500"},
    {"from_": "requests where 'ok' = outcome and step <> 'x'", "value": "count(*) filter (where status >= 500)", "is_": "= 0"},
    {"from_": "requests where step = 'alive'", "every": "status = 201"},
    {"from_": "requests where step = 'alive'", "every": "status in (200, 201) and response->>'$.ok' = 'yes'"},
    {"from_": DEAD, "every": "outcome <> 'ok'"},
    {"from_": DEAD, "every": "outcome = 'info'"},
    {"from_": DEAD, "every": "status is null"},
    {"from_": DEAD, "none": "status is not null"},
    {"from_": DEAD, "every": "status is null or status = 503"},
    {"from_": DEAD, "every": "error is null or error = 'connection reset'"},
    {"from_": DEAD, "every": "sent_ms >= 0"},
    {"from_": DEAD, "every": "coalesce(done_ms, sent_ms) - sent_ms < 500"},
    {"from_": DEAD, "every": "len(touched) = 0"},
    {"from_": "requests where status is null", "every": "step = 'dead'"},
    {"from_": "requests", "every": "outcome = 'info' or status = 201"},
    {"from_": "requests", "every": "if(outcome = 'ok', status = 201, true)"},
    {"from_": "requests", "none": "outcome = 'ok' and status >= 500"},
    {"from_": "requests", "value": "count(*) filter (where outcome = 'ok')", "is_": "= 10"},
    {"from_": "requests", "value": "count(*) filter (where status is null)", "is_": "= 10"},
    {"from_": "requests", "value": "max(latency_ms)", "is_": "< 500"},
    {"from_": "requests", "share": "status = 201", "is_": ">= 0.5"},
]  # fmt: skip


@pytest.mark.parametrize("changes", FINE)
def test_what_is_known_of_it_may_be_said(
    killed: Path, result_of: ResultOf, changes: dict[str, object]
) -> None:
    result = result_of(killed, assertion(**({"at_least": 5} | changes)))
    assert (result.status, result.why) == ("PASS", result.why)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("select seq, step, response->>'$.id' as id from requests where outcome = 'ok' and status = 201", {"every": "id is not null"}),
        ("select seq, status, step from requests", {"from_": "w where step = 'dead'", "every": "status is null"}),
        ("select seq, step, status is null as lost from requests", {"from_": "w where lost", "every": "step = 'dead'"}),
        ("select step, count(*) filter (where outcome = 'ok') as n from requests group by step", {"every": "n in (0, 10)", "at_least": 2}),
        ("select seq, status, outcome from requests", {"none": "outcome = 'ok' and status >= 500"}),
    ],
)  # fmt: skip
def test_and_through_a_query(
    killed: Path, result_of: ResultOf, text: str, changes: dict[str, object]
) -> None:
    with_, own = query(text, **changes)
    result = result_of(killed, assertion(**own), with_=with_)
    assert (result.status, result.why) == ("PASS", result.why)


@pytest.mark.parametrize(
    ("where", "often"), [("step = 'alive'", False), ("outcome = 'ok'", False), ("true", True)]
)
def test_where_no_unanswered_row_is_looked_at_that_is_found_out_at_once(
    killed: Path,
    result_of: ResultOf,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    often: bool,
) -> None:
    tried = []

    def evaluate(*arguments: Any) -> list[Any]:
        tried.append(arguments)
        return measuring.evaluate(*arguments)

    monkeypatch.setattr(unknowns, "evaluate", evaluate)
    text = f"select seq, coalesce(status, 200) as status from requests where {where}"
    named, spec = query(text, share="status = 201", is_=">= 0.5")
    assert result_of(killed, assertion(**spec), with_=named).status == "PASS"
    assert (len(tried) > 1) == often


def test_a_failure_stays_one(killed: Path, result_of: ResultOf) -> None:
    result = result_of(killed, assertion(from_="requests", every="status = 201", at_least=5))
    assert result.status == "FAIL"


def test_unanswered_inputs_do_not_count_for_at_least(killed: Path, result_of: ResultOf) -> None:
    spec = assertion(
        value="count(*) filter (where status = 201)", is_=">= 5", from_="requests", at_least=15
    )
    result = result_of(killed, spec)
    assert (result.status, "only 10 of at least 15" in result.why) == ("UNKNOWN", True)


@pytest.mark.parametrize(
    ("source", "hints"),
    [
        ("requests where status = 201", 1),
        ("requests where outcome = 'ok' and status = 201", 0),
        ("requests where status is null", 0),
        ("requests where step = 'x'", 0),
    ],
)
def test_lint_suggests_to_ask_for_the_outcome_first(source: str, hints: int) -> None:
    found = list(
        sql_problems(
            judged(assertion(from_=source, every="error is null")), alone=None, golden=False
        )
    )
    assert [complaint.severity for complaint in found] == ["warning"] * hints

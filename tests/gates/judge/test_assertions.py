"""Assertions on real evidence: what passes, what fails, and everything that must be UNKNOWN."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gates.judge import verdict
from gates.judge.connection import Evidence
from gates.judge.result import AssertionResult
from gates.spec.assertion import Assertion, Named
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

ResultOf = Callable[..., AssertionResult]
NewRun = Callable[..., Run]


def mixed(new_run: NewRun, good: int, bad: int, unanswered: int = 0, **changes: object) -> Path:
    run = new_run().begin()
    for number in range(good):
        run.request(sent_ms=float(number), done_ms=number + 2.0, **changes)
    for number in range(bad):
        run.request(
            status=500, sent_ms=float(number), done_ms=number + 50.0, response={"degraded": True}
        )
    for _ in range(unanswered):
        run.request(answered=False)
    return run.step("control.0").step("scenario.0").end().close()


def test_every_passes_when_all_rows_satisfy_it(plain_run: Path, result_of: ResultOf) -> None:
    result = result_of(plain_run, assertion(every="status = 200"))
    assert (result.status, result.measured, result.population, result.violating) == (
        "PASS",
        0,
        20,
        0,
    )
    assert "status = 200" in result.sql
    assert result.expectation == "every row has status = 200"


def test_every_fails_with_the_first_violating_rows_in_order(
    new_run: NewRun, result_of: ResultOf
) -> None:
    result = result_of(mixed(new_run, good=20, bad=7), assertion(every="status = 200"))
    assert (result.status, result.measured, result.violating) == ("FAIL", 7, 7)
    assert [row["seq"] for row in result.rows] == [20, 21, 22, 23, 24]
    assert result.rows[0]["response"] == {"degraded": True}
    assert result.why == "7 of 27 rows violating it; first: status=500 seq=20"
    assert (next(iter(result.rows[0])), result.looks_at) == ("status", ["status"])


def test_a_request_without_an_answer_stays_in_the_population(
    new_run: NewRun, result_of: ResultOf
) -> None:
    directory = mixed(new_run, good=20, bad=0, unanswered=2)
    every = result_of(directory, assertion(every="status = 200"))
    assert (every.status, every.violating) == ("FAIL", 2)
    assert every.why == "2 of 22 rows violating it (NULL for 2); first: status=NULL seq=20"
    assert result_of(directory, assertion(none="status = 500")).status == "FAIL"
    assert result_of(directory, assertion(every="outcome = 'ok'")).violating == 2


def test_long_fields_are_cut(new_run: NewRun, result_of: ResultOf) -> None:
    run = new_run().begin()
    for _ in range(10):
        run.request(path="/" + "x" * 5000, status=500)
    result = result_of(
        run.step("control.0").step("scenario.0").end().close(), assertion(every="status = 200")
    )
    assert len(str(result.rows[0]["path"])) < 400


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"at_least": 20, "every": "status = 200"}, "PASS"),
        ({"at_least": 21, "every": "status = 200"}, "UNKNOWN"),
        ({"from_": "requests where load = 'nobody'", "every": "status = 200"}, "UNKNOWN"),
        ({"from_": "requests where load = 'nobody'", "none": "status = 200"}, "UNKNOWN"),
        ({"from_": "loads", "every": "planned = sent"}, "UNKNOWN"),
        ({"from_": "requests where false", "value": "count(*)", "is_": "= 0"}, "UNKNOWN"),
        ({"from_": "requests where false", "share": "status = 200", "is_": ">= 0.5"}, "UNKNOWN"),
    ],
)
def test_too_few_rows_say_nothing(
    plain_run: Path, result_of: ResultOf, changes: dict[str, object], status: str
) -> None:
    assert result_of(plain_run, assertion(**changes)).status == status


@pytest.mark.parametrize(
    ("is_", "status"),
    [
        (">= 0.9", "PASS"),
        (">= 0.95", "FAIL"),
        ("= 0.9", "PASS"),
        ("between 0.85 and 0.9", "PASS"),
        ("< 0.9", "FAIL"),
    ],
)
def test_shares_are_exact(new_run: NewRun, result_of: ResultOf, is_: str, status: str) -> None:
    result = result_of(mixed(new_run, good=18, bad=2), assertion(share="status = 200", is_=is_))
    assert (result.status, result.measured) == (status, 0.9)


@pytest.mark.parametrize(
    ("is_", "status", "measured"),
    [
        (">= 0.9", "FAIL", 0.8),
        (">= 0.8", "PASS", 0.8),
        ("<= 0.85", "FAIL", 0.9),
        ("<= 0.9", "PASS", 0.9),
        ("between 0.8 and 0.85", "FAIL", 0.8),
        ("= 0.8", "FAIL", 0.8),
        ("!= 0.85", "FAIL", 0.8),
    ],
)
def test_what_is_not_known_never_helps_a_share(
    new_run: NewRun, result_of: ResultOf, is_: str, status: str, measured: float
) -> None:
    directory = mixed(new_run, good=16, bad=2, unanswered=2)
    result = result_of(directory, assertion(share="status = 200", is_=is_))
    assert (result.status, result.measured) == (status, measured)
    assert (
        f"{measured:.4g}, {measured * 20:.0f} of 20 rows (NULL for 2, counted so that they do not"
        in result.why
    )


def test_one_degraded_answer_in_many_is_not_degraded(new_run: NewRun, result_of: ResultOf) -> None:
    directory = mixed(new_run, good=79, bad=1)
    result = result_of(directory, assertion(share="response->>'$.degraded' = 'true'", is_=">= 0.9"))
    assert (result.status, result.violating) == ("FAIL", 79)


@pytest.mark.parametrize(
    ("value", "is_", "status"),
    [
        ("max(latency_ms)", "<= 2", "PASS"),
        ("max(latency_ms)", "< 2", "FAIL"),
        ("count(*)", "= 20", "PASS"),
        ("count(*)", "between 1 and 19", "FAIL"),
        ("count(distinct actor)", "= 1", "PASS"),
        ("sum(status) / count(*)", "= 200", "PASS"),
        ("avg((response->>'$.n')::DOUBLE)", "= 3", "PASS"),
        ("count(*)", "= (select count(*) from requests where status = 200)", "PASS"),
        ("count(*)", "= (select max(seq) from requests)", "FAIL"),
    ],
)
def test_values(plain_run: Path, result_of: ResultOf, value: str, is_: str, status: str) -> None:
    assert result_of(plain_run, assertion(value=value, is_=is_)).status == status


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("avg((response->>'$.bad')::DOUBLE)", "NaN or infinity"),
        ("max((response->>'$.bad')::DOUBLE)", "NaN or infinity"),
        ("min((response->>'$.bad')::DOUBLE)", "NaN or infinity"),
        ("sum(latency_ms) / (count(*) - 20)", "not one finite number"),
        ("(sum(latency_ms) - 40) / (count(*) - 20)", "not one finite number"),
        ("max(nullif(status, 200))", "too few"),
        ("nullif(max(status), 200)", "not one finite number"),
    ],
)
def test_a_value_that_is_no_finite_number_is_unknown(
    new_run: NewRun, result_of: ResultOf, value: str, why: str
) -> None:
    run = new_run().begin()
    for number in range(20):
        run.request(response={"bad": "NaN" if number == 7 else "3"})
    directory = run.step("control.0").step("scenario.0").end().close()
    for is_ in (">= 0.99", "< 0.99", "!= 3"):
        result = result_of(directory, assertion(value=value, is_=is_))
        assert result.status == "UNKNOWN"
        assert why in result.why


@pytest.mark.parametrize("bad", ["NaN", "nan", "Infinity", "-inf"])
def test_nan_in_a_predicate_is_unknown(new_run: NewRun, result_of: ResultOf, bad: str) -> None:
    run = new_run().begin()
    for number in range(20):
        run.request(response={"score": bad if number == 7 else 0.995})
    directory = run.step("control.0").step("scenario.0").end().close()
    result = result_of(directory, assertion(every="(response->>'$.score')::DOUBLE >= 0.99"))
    assert (result.status, "NaN or infinity" in result.why) == ("UNKNOWN", True)


def test_a_division_by_zero_in_a_predicate_is_unknown(plain_run: Path, result_of: ResultOf) -> None:
    result = result_of(plain_run, assertion(every="service_ms / (status - 200) >= 0.9"))
    assert result.status == "UNKNOWN"


def test_the_population_of_a_value_are_rows_with_its_inputs(
    new_run: NewRun, result_of: ResultOf
) -> None:
    directory = mixed(new_run, good=9, bad=0, unanswered=11)
    result = result_of(directory, assertion(value="max(latency_ms)", is_="< 50"))
    assert (result.status, result.population) == ("UNKNOWN", 9)
    assert result_of(directory, assertion(value="count(*)", is_="= 20")).population == 20


def latencies(new_run: NewRun, fast: int, slow: int, unanswered: int = 0) -> Path:
    run = new_run().begin()
    for number in range(fast + slow):
        run.request(sent_ms=0.0, done_ms=5.0 if number < fast else 500.0)
    for _ in range(unanswered):
        run.request(answered=False)
    return run.step("control.0").step("scenario.0").end().close()


@pytest.mark.parametrize(
    ("fast", "slow", "unanswered", "status"),
    [
        (59, 0, 0, "PASS"),
        (118, 2, 0, "UNKNOWN"),
        (100, 20, 0, "FAIL"),
        (100, 0, 20, "FAIL"),
        (118, 0, 2, "UNKNOWN"),
    ],
)
def test_percentiles_are_judged_by_their_bounds(
    new_run: NewRun, result_of: ResultOf, fast: int, slow: int, unanswered: int, status: str
) -> None:
    spec = assertion(value="quantile_cont(latency_ms, 0.95)", is_="< 50", at_least=59)
    result = result_of(latencies(new_run, fast, slow, unanswered), spec)
    assert result.status == status
    assert (
        f"{slow + unanswered} of {fast + slow + unanswered} rows are not within the limit"
        in result.why
    )
    assert len(result.rows) == min(5, slow + unanswered)


def test_a_percentile_without_an_upper_limit_is_a_value(
    new_run: NewRun, result_of: ResultOf
) -> None:
    spec = assertion(value="quantile_cont(latency_ms, 0.5)", is_=">= 5")
    assert result_of(latencies(new_run, 20, 0), spec).status == "PASS"


def joined(query: str, at_least: int = 1, **changes: object) -> tuple[Assertion, dict[str, object]]:
    spec = assertion(**({"from_": "w", "every": "status = 200"} | changes))
    return spec, {"with_": {"w": Named(query=query, at_least=at_least)}}


def test_a_join_that_multiplies_rows_does_not_multiply_the_population(
    new_run: NewRun, result_of: ResultOf
) -> None:
    run = new_run().begin()
    for _ in range(4):
        run.request()
    for _ in range(5):
        run.step("scenario.0")
    query = "select r.seq, r.status from requests r, steps"
    spec, with_query = joined(query)
    result = result_of(run.end().close(), spec, **with_query)
    assert (result.status, result.population) == ("UNKNOWN", 4)


@pytest.mark.parametrize(
    "changes", [{"share": "status = 200", "is_": ">= 0.5"}, {"value": "sum(status)", "is_": "> 5"}]
)
def test_a_share_or_value_over_multiplied_rows_is_unknown(
    plain_run: Path, result_of: ResultOf, changes: dict[str, object]
) -> None:
    spec, with_query = joined(
        "select r.seq, r.status from requests r, steps", every=None, **changes
    )
    result = result_of(plain_run, spec, **with_query)
    assert (result.status, "count some twice" in result.why) == ("UNKNOWN", True)


def test_without_a_seq_distinct_rows_are_counted(plain_run: Path, result_of: ResultOf) -> None:
    spec, with_query = joined("select status from requests")
    assert result_of(plain_run, spec, **with_query).population == 1


def test_a_query_has_a_population_of_its_own(plain_run: Path, result_of: ResultOf) -> None:
    spec, with_query = joined("select seq, status from requests", at_least=21)
    result = result_of(plain_run, spec, **with_query)
    assert (result.status, "only 20 of at least 21" in result.why) == ("UNKNOWN", True)


def test_queries_may_build_on_each_other_and_on_data(plain_run: Path, result_of: ResultOf) -> None:
    queries = {
        "allowed": Named(
            query="select r.seq, r.status, m.expected from requests r join matrix m using (role)",
            at_least=5,
        ),
        "judged_rows": Named(query="select * from allowed where expected is not null", at_least=5),
    }
    matrix: list[dict[str, object]] = [
        {"role": "operator", "expected": 200},
        {"role": "observer", "expected": 403},
    ]
    spec = assertion(from_="judged_rows", every="status = expected")
    result = result_of(plain_run, spec, with_=queries, data={"matrix": matrix})
    assert (result.status, result.population) == ("PASS", 20)


@pytest.mark.parametrize(
    ("rows", "predicate"),
    [
        ([{"a": 1, "b": "x"}, {"a": None, "b": "y"}], "a = 1 or b = 'y'"),
        ([{"a": 1}, {"a": 2.5}], "a > 0.5"),
        ([{"a": True}, {}], "a or a is null"),
        ([{"a": ["x", "y"]}, {"a": []}], "len(a) <> 1"),
        ([{"a": {"k": [1]}}, {"a": "text"}], "a->>'$' <> 'nothing'"),
        ([{"a": "it's"}], "a = 'it''s'"),
    ],
)
def test_data_tables_take_their_types_from_their_values(
    plain_run: Path, result_of: ResultOf, rows: list[dict[str, object]], predicate: str
) -> None:
    query = Named(
        query=f"select d.*, r.status from fixed d, requests r where ({predicate})", at_least=1
    )
    spec = assertion(from_="w", every="status = 200", at_least=len(rows))
    assert result_of(plain_run, spec, with_={"w": query}, data={"fixed": rows}).status == "PASS"


@pytest.mark.parametrize(
    "changes",
    [
        {"every": "(response->>'$.degraded')::INTEGER = 1 and actor::INTEGER = 3"},
        {"value": "max(actor::INTEGER)", "is_": "> 3"},
        {"value": "count(*)", "is_": "= (select seq from requests)"},
        {"value": "count(*)", "is_": "= (select max(error) from requests)"},
        {"value": "count(*)", "is_": "= (select count(*) from requests group by seq)"},
    ],
)
def test_sql_that_raises_or_gives_no_number_is_unknown(
    plain_run: Path, result_of: ResultOf, changes: dict[str, object]
) -> None:
    assert result_of(plain_run, assertion(**changes)).status == "UNKNOWN"


def test_a_query_that_raises_spoils_what_uses_it_and_nothing_else(
    plain_run: Path, shipped: Callable[..., Evidence]
) -> None:
    queries = {"w": Named(query="select seq, actor::INTEGER as n from requests", at_least=1)}
    spec = judged(
        assertion(from_="w", every="n = 1"),
        assertion(that="fine", every="status = 200"),
        with_=queries,
    )
    first, second = verdict_of(shipped(plain_run), spec).assertions
    assert (first.status, "the query w failed" in first.why) == ("UNKNOWN", True)
    assert second.status == "PASS"


@pytest.mark.parametrize(
    "text", ["status = 200; drop table requests", "range(3) = [1]", "true", "staus = 200"]
)
def test_what_lint_refuses_is_unknown_when_it_is_judged_all_the_same(
    plain_run: Path, result_of: ResultOf, text: str
) -> None:
    assert result_of(plain_run, assertion(every=text)).status == "UNKNOWN"


def test_a_query_that_takes_for_ever_is_unknown(
    plain_run: Path, result_of: ResultOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "TIME_LIMIT_S", 0.05)
    tables = ", ".join(f"requests r{number}" for number in range(9))
    spec, with_query = joined(f"select sum(r0.status + r8.seq) as status from {tables}", at_least=1)
    result = result_of(plain_run, spec, **with_query)
    assert (result.status, "Interrupted" in result.why) == ("UNKNOWN", True)


def test_rows_of_other_gates_and_runs_are_never_seen(
    new_run: NewRun, shipped: Callable[..., Evidence]
) -> None:
    here = new_run().plain(20).close()
    others = [
        new_run(gate="other").plain(20, status=500).close(),
        new_run(run_id="run-2").begin(mode="defect", defect="x").request(status=500).end().close(),
    ]
    spec = judged(
        assertion(every="status = 200", at_least=20),
        assertion(that="n", value="count(*)", is_="= 20"),
    )
    verdict = verdict_of(shipped(here, *others), spec)
    assert (verdict.status, verdict.run_id) == ("PASS", "run-1")
    assert verdict_of(shipped(here, *others), spec, run_id="run-2").assertions[1].population == 1


def test_gates_leave_nothing_behind(new_run: NewRun, shipped: Callable[..., Evidence]) -> None:
    evidence = shipped(
        new_run().plain(20).close(), new_run(gate="other", run_id="run-2").plain(20).close()
    )
    queries = {"w": Named(query="select * from requests", at_least=1)}
    spec = judged(
        assertion(from_="w", every="status = 200"), with_=queries, data={"fixed": [{"a": 1}]}
    )
    verdict_of(evidence, spec)
    names = evidence.connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE temporary"
    ).fetchall()
    assert names == []
    assert (
        verdict_of(
            evidence, judged(assertion(from_="w", every="status = 200"), gate="other")
        ).status
        == "UNKNOWN"
    )


def test_the_order_in_which_gates_are_judged_does_not_matter(
    new_run: NewRun, shipped: Callable[..., Evidence]
) -> None:
    evidence = shipped(
        new_run().plain(20).close(),
        new_run(gate="other", run_id="run-2").plain(20, status=500).close(),
    )
    specs = [judged(assertion(every="status = 200"), gate=gate) for gate in ("demo", "other")]
    forwards = [verdict_of(evidence, spec) for spec in specs]
    assert [verdict_of(evidence, spec) for spec in specs[::-1]][::-1] == forwards
    assert [verdict.status for verdict in forwards] == ["PASS", "FAIL"]

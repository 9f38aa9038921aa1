"""What is refused without any evidence: every way of writing SQL that would make a verdict worthless."""

import pytest

from gates.judge.compiler import compile_gate
from gates.judge.connection import open_blank
from gates.judge.lint import check, columns_of, sql_problems
from gates.judge.problem import Problem
from gates.judge.verdict import limit_ms, outside_population
from gates.spec.assertion import Assertion, Named
from tests.gates.judge.runs import assertion, judged

BLANK = open_blank({})
ROLES: list[dict[str, object]] = [{"role": "operator", "route": "/tasks", "status": 201}]


def problems_of(*asserts: Assertion, **changes: object) -> list[Problem]:
    return check(BLANK, judged(*asserts, **changes))[0]


def only(problems: list[Problem]) -> Problem:
    (problem,) = problems
    return problem


def with_query(query: str, **changes: object) -> list[Problem]:
    spec = assertion(**({"from_": "w", "every": "n = 1"} | changes))
    return problems_of(spec, with_={"w": Named(query=query, at_least=1)})


@pytest.mark.parametrize(
    "predicate",
    [
        "status = 200",
        "status in (200, 201) and actor is not null",
        "response->>'$.degraded' = 'true'",
        "(response->'$.items')::VARCHAR <> '[]'",
        "coalesce(status, 0) >= 500 or error like '%refused%'",
        "'outage' in during",
        "len(list_filter(touched, lambda x: x <> 'outage')) = 0",
        "case when status = 401 then headers->>'$.www-authenticate' is not null else true end",
        "requests.latency_ms between 0 and 500",
        "status = 200 -- a comment at the end",
        "json_array_length(response, '$.items') > 0",
        "Status = 200 and REQUESTS.status < 300",
    ],
)
def test_predicates_that_are_fine(predicate: str) -> None:
    assert problems_of(assertion(every=predicate)) == []


@pytest.mark.parametrize(
    ("value", "is_"),
    [
        ("count(*)", "= 10"),
        ("max(latency_ms) - min(latency_ms)", "< 50"),
        ("count(distinct response->>'$.id')", ">= 8"),
        ("sum(status) / count(*)", "< 300"),
        ("count(*) filter (where status = 200)", "between 1 and 3"),
        ("regr_slope(latency_ms, sent_ms)", "< 0.1"),
        ("count(*)", "= (select count(*) from loads)"),
    ],
)
def test_values_that_are_fine(value: str, is_: str) -> None:
    assert problems_of(assertion(value=value, is_=is_)) == []


@pytest.mark.parametrize(
    ("query", "predicate"),
    [
        (
            "select r.seq, f.fault as n from requests r join faults f on r.sent_ms > f.on_ms",
            "n = 'a'",
        ),
        ("select role, count(*) as n from requests group by role", "n = 1"),
        (
            "select seq, row_number() over (partition by route order by seq) as n from requests",
            "n < 3",
        ),
        (
            "with a as (select * from requests) select seq, status as n from a where exists (select 1 from roles)",
            "n = 1",
        ),
        (
            "select r.seq, count(s.seq) as n from roles join requests r using (role) left join steps s on true group by all",
            "n = 1",
        ),
        ("select seq, unnest(during) as n from requests", "n = 'a'"),
        (
            "select 'r' as kind, seq as n from requests union all select 's', seq from steps",
            "n >= 0",
        ),
        ("select list(status order by seq) as n, actor from requests group by actor", "n = [200]"),
        ("select seq as n from requests order by seq limit 5", "n < 5"),
    ],
)
def test_queries_that_are_fine(query: str, predicate: str) -> None:
    spec = assertion(from_="w", every=predicate)
    assert (
        problems_of(spec, with_={"w": Named(query=query, at_least=1)}, data={"roles": ROLES}) == []
    )


@pytest.mark.parametrize(
    ("predicate", "kind", "message"),
    [
        ("true", "constant", "no column"),
        ("1 = 1", "constant", "no column"),
        ("seq >= 0", "constant", "no column"),
        ("run_id is not null", "constant", "no column"),
        ("random() < 2", "function", "random is not allowed"),
        ("status < extract(year from now())", "function", "now is not allowed"),
        ("status < 200 or current_date > '2020-01-01'", "function", "current_date is not a column"),
        ("getenv('HOME') = actor", "function", "getenv"),
        ("actor = current_setting('threads')", "function", "current_setting"),
        ("actor = getvariable('x')", "function", "getvariable"),
        ("hash(actor) > 0", "function", "hash"),
        ("status in (select 200)", "form", "no subqueries"),
        ("exists (select 1 from steps)", "form", "no subqueries"),
        ("status = any(during)", "form", "no subqueries"),
        ("count(*) > 3", "form", "aggregate"),
        ("row_number() over (order by seq) < 3", "form", "window"),
        ("unnest(during) = 'a'", "form", "unnest"),
        ("*", "form", "name the columns"),
        ("columns('stat.*') = 200", "form", "name the columns"),
        ("status = 200, status = 201", "form", "one expression"),
        ("status = 200 as fine", "form", "one expression"),
        ("status = 200 from steps", "form", "an expression only"),
        ("status = 200 where true", "form", "an expression only"),
        ("status = 200; select 1", "syntax", "one statement"),
        ("status = 200) from steps; select (1", "syntax", "syntax error"),
        ("status = ", "syntax", "syntax error"),
        ("status = $1", "form", "parameters"),
        ("#1 = 200", "form", "name the column"),
        ("actor collate nocase = 'x'", "form", "collations"),
        ("response->'$.ok' = 'true'", "form", "parentheses"),
        ("main.len(actor) = 3", "function", "without a schema"),
        ("lenn(actor) = 3", "function", 'did you mean "len"'),
        ("status + 1", "type", "true or false, not BIGINT"),
        ("actor", "type", "true or false, not VARCHAR"),
    ],
)
def test_predicates_that_are_refused(predicate: str, kind: str, message: str) -> None:
    problem = only(problems_of(assertion(every=predicate)))
    assert (problem.kind, problem.where) == (kind, "assert.0.every")
    assert message in problem.message


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("latency_ms", "form", "a value is an aggregate"),
        ("3", "form", "a value is an aggregate"),
        ("first(latency_ms)", "function", "first is not allowed"),
        ("any_value(latency_ms)", "function", "any_value"),
        ("arg_max(latency_ms, seq)", "function", "arg_max"),
        ("mode(status)", "function", "mode"),
        ("approx_quantile(latency_ms, 0.9)", "function", "approx_quantile"),
        ("list(latency_ms)[1]", "order", "ORDER BY"),
        ("string_agg(actor, ',')", "order", "ORDER BY"),
        ("bool_and(status = 200)", "type", "a number, not BOOLEAN"),
        ("max(actor)", "type", "a number, not VARCHAR"),
        ("max(latency_ms), min(latency_ms)", "form", "one expression"),
        ("sum(actor)", "bind", "sum(VARCHAR)"),
        ("max(latency_ms) + status", "bind", "neither grouped by"),
        ("quantile_cont(latency_ms, [0.5, 0.9])", "form", "one number between 0 and 1"),
        ("quantile_cont(latency_ms, 1)", "form", "one number between 0 and 1"),
    ],
)
def test_values_that_are_refused(value: str, kind: str, message: str) -> None:
    problem = only(problems_of(assertion(value=value, is_="< 5")))
    assert (problem.kind, problem.where) == (kind, "assert.0.value")
    assert message in problem.message


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("requests, faults", "form", "one table"),
        ("requests join faults on true", "form", "one table"),
        ("requests r", "form", "one table"),
        ("(select * from requests)", "form", "one table"),
        ("range(1000)", "form", "one table"),
        ("read_json('x.jsonl')", "form", "one table"),
        ("'requests.parquet'", "table", "no table"),
        ("requests using sample 10", "form", "one table"),
        ("requests tablesample 10%", "form", "sampling"),
        ("requests order by seq", "form", "one table"),
        ("requests limit 5", "form", "one table"),
        ("requests group by status", "form", "one table"),
        ("requests union all from requests", "form", "one table"),
        ("evidence.requests", "table", "without a schema"),
        ("information_schema.tables", "table", "without a schema"),
        ("request", "table", 'did you mean "requests"'),
        ("duckdb_settings", "table", "no table"),
        ("seals", "table", "no table"),
        ("requests where status in (select 200)", "form", "no subqueries"),
        ("requests where random() < 0.5", "function", "random"),
        ("requests; drop table requests", "syntax", "only SELECT"),
        ("requests where staus = 200", "bind", "status"),
    ],
)
def test_populations_that_are_refused(source: str, kind: str, message: str) -> None:
    problem = only(problems_of(assertion(from_=source, every="latency_ms < 200")))
    assert (problem.kind, problem.where) == (kind, "assert.0.from")
    assert message in problem.message


@pytest.mark.parametrize(
    ("query", "kind", "message"),
    [
        ("select 1 as n", "table", "reads no evidence"),
        ("select * from range(1000) t(n)", "table", "table functions"),
        ("select n from (values (1)) t(n), requests", "table", "VALUES"),
        ("select * from read_parquet('x')", "table", "table functions"),
        ("describe requests", "table", "DESCRIBE"),
        ("select seq as n from requests limit 5", "order", "ORDER BY"),
        ("select seq as n from requests order by seq limit 5%", "form", "number of rows"),
        ("select distinct on (status) seq as n from requests", "order", "DISTINCT ON"),
        ("select seq as n from requests positional join steps", "order", "positional"),
        ("select row_number() over () as n from requests", "order", "ORDER BY in its OVER"),
        ("select list(seq) as n from requests", "order", "ORDER BY inside"),
        (
            "with recursive r as (select 1 as n union all select n + 1 from r) select n from r, requests",
            "form",
            "recursive",
        ),
        ("select seq as n from requests using sample 3", "form", "sampling"),
        ("select seq as n from requests tablesample 10%", "form", "sampling"),
        ("pivot requests on status using count(*)", "syntax", "only SELECT"),
        ("select 1; select 2", "syntax", "one statement"),
        ("delete from requests", "syntax", "only SELECT"),
        ("attach 'x.db'", "syntax", "only SELECT"),
        ("copy requests to 'x'", "syntax", "only SELECT"),
        ("select n from w", "table", "no table w"),
        ("select seq, stats as n from requests", "bind", "there is no column stats"),
        (
            "select seq, first_value(status) over (partition by actor) as n from requests",
            "order",
            "ORDER BY in its OVER",
        ),
        ("select nextval('s') as n from requests", "function", "nextval"),
        ("from requests select uuid() as n", "function", "uuid"),
    ],
)
def test_queries_that_are_refused(query: str, kind: str, message: str) -> None:
    problem = only(with_query(query))
    assert (problem.kind, problem.where) == (kind, "with.w.query")
    assert message in problem.message


def test_a_query_may_not_take_the_name_of_a_table() -> None:
    spec = assertion(from_="requests", every="status = 200")
    named = {"requests": Named(query="select * from steps", at_least=1)}
    assert only(problems_of(spec, with_=named)).kind == "table"


def test_a_query_may_use_those_before_it_only() -> None:
    first, second = (
        Named(query="select seq from requests", at_least=1),
        Named(query="select seq as n from a", at_least=1),
    )
    spec = assertion(from_="b", every="n = 1 or actor is null")
    assert problems_of(assertion(from_="b", every="n >= 0"), with_={"a": first, "b": second}) == []
    assert "no table a" in problems_of(spec, with_={"b": second, "a": first})[0].message


@pytest.mark.parametrize(
    ("changes", "where", "message"),
    [
        ({"every": "status = 200", "none": "status = 500"}, "assert.0", "exactly one of"),
        ({}, "assert.0", "exactly one of"),
        ({"share": "status = 200"}, "assert.0", "needs `is:`"),
        ({"every": "status = 200", "is_": "> 0"}, "assert.0.is", "takes no `is:`"),
        ({"value": "count(*)", "is_": "many"}, "assert.0.is", "expected something like"),
        ({"share": "status = 200", "is_": ">= 0"}, "assert.0.is", "cannot fail"),
        ({"share": "status = 200", "is_": ">= 90"}, "assert.0.is", "between 0 and 1"),
        (
            {"share": "status = 200", "is_": "= (select 1)"},
            "assert.0.is",
            "write the query as a `value`",
        ),
        ({"every": "status = 200", "at_least": 0}, "assert.0.at_least", "1 or more"),
        (
            {"value": "quantile_cont(latency_ms, 0.99)", "is_": "< 5", "at_least": 298},
            "assert.0.at_least",
            "needs at_least: 299",
        ),
        (
            {"value": "quantile_cont(latency_ms, 0.999)", "is_": "< 5", "at_least": 2994},
            "assert.0.at_least",
            "needs at_least: 2995",
        ),
        (
            {"value": "median(latency_ms)", "is_": "> 5", "at_least": 4},
            "assert.0.at_least",
            "needs at_least: 5",
        ),
        ({"value": "count(*)", "is_": "= (select random())"}, "assert.0.is", "random"),
        (
            {"value": "count(*)", "is_": "= (select count(*) from nothing)"},
            "assert.0.is",
            "no table nothing",
        ),
        ({"value": "count(*)", "is_": "= (select stats from requests)"}, "assert.0.is", "stats"),
    ],
)
def test_assertions_that_are_refused(changes: dict[str, object], where: str, message: str) -> None:
    problem = only(problems_of(assertion(**changes)))
    assert problem.where == where
    assert message in problem.message


def test_two_assertions_of_one_name_are_refused() -> None:
    assert (
        only(problems_of(assertion(every="status = 200"), assertion(every="status = 201"))).where
        == "assert.1.that"
    )


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("requests where status = 200", {"every": "status = 200"}),
        ("requests where load = 'x' and status=200", {"every": "status  =  200"}),
        ("requests where status <> 200", {"none": "status = 200"}),
        ("requests where not (status = 200)", {"none": "status = 200"}),
        ("requests where actor is null", {"none": "actor is not null"}),
        ("requests where latency_ms < 5", {"share": "latency_ms < 5", "is_": ">= 0.5"}),
    ],
)
def test_what_the_population_says_already_is_no_assertion(
    source: str, changes: dict[str, object]
) -> None:
    assert only(problems_of(assertion(from_=source, **changes))).kind == "constant"


@pytest.mark.parametrize(
    ("every", "offset"),
    [
        ("status = lenn(actor)", 9),
        ("stats = 200", 0),
        ("status = 200 and 'ä' <> actor and lenn(actor) = 1", 34),
        ("status ==== 200", None),
    ],
)
def test_the_place_in_the_text_is_told_where_it_is_known(every: str, offset: int | None) -> None:
    problem = only(problems_of(assertion(every=every)))
    assert offset is None or problem.offset == offset


def test_a_place_in_a_query_under_is_counts_from_the_start_of_is() -> None:
    text = "= (select count(*) from nothing)"
    problem = only(problems_of(assertion(value="count(*)", is_=text)))
    assert problem.offset == text.index("nothing")


def test_a_binding_error_suggests_what_may_have_been_meant() -> None:
    assert '"status"' in only(problems_of(assertion(every="staus = 200"))).message


def test_all_problems_come_at_once() -> None:
    found = problems_of(
        assertion(every="true"),
        assertion(that="b", none="staus = 1"),
        assertion(that="c", share="status = 1"),
    )
    assert [problem.kind for problem in found] == ["comparator", "constant", "bind"]


def test_collected_tables_are_known_by_their_declared_columns() -> None:
    fine = assertion(from_="audit", every="allowed and detail->>'$.x' = 'y'")
    other = assertion(that="b", every="status = 200")
    collected = {"audit": {"allowed": "BOOLEAN", "detail": "JSON"}}
    assert problems_of(fine, other, collected=collected) == []
    assert only(problems_of(fine, other)).kind == "table"


def test_a_gate_needs_something_from_outside() -> None:
    collected = {"audit": {"allowed": "BOOLEAN"}}
    own = assertion(from_="audit", every="allowed")
    assert only(problems_of(own, collected=collected)).kind == "outside"
    assert not outside_population(BLANK.connection, judged(own, collected=collected))
    through = Named(
        query="select a.seq, a.allowed from audit a join requests r on r.seq = a.seq", at_least=1
    )
    spec = judged(assertion(from_="w", every="allowed"), collected=collected, with_={"w": through})
    assert outside_population(BLANK.connection, spec)


def test_a_population_is_never_a_fixed_table() -> None:
    found = problems_of(
        assertion(from_="roles", every="status = 201", at_least=1), data={"roles": ROLES}
    )
    assert (only(found).kind, "comes from the evidence" in only(found).message) == ("table", True)


def test_data_without_columns_is_refused() -> None:
    found = problems_of(assertion(every="status = 200"), data={"roles": []})
    assert only(found).kind == "data"


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"every": "latency_ms < 300"}, 300.0),
        ({"every": "status = 200 or 250 >= service_ms"}, 250.0),
        ({"value": "max(latency_ms)", "is_": "<= 200"}, 200.0),
        ({"every": "latency_ms > 150"}, None),
        ({"value": "count(latency_ms)", "is_": "> 3"}, None),
        ({"every": "status < 300"}, None),
    ],
)
def test_limits_on_latency_are_found(changes: dict[str, object], limit: float | None) -> None:
    spec = judged(assertion(**changes))
    assert limit_ms(compile_gate(BLANK.connection, spec)) == limit
    places = [found.place for found in sql_problems(spec, alone=frozenset(), golden=False)]
    assert places == ([("assert", 0)] if limit else [])
    assert list(sql_problems(spec, alone=None, golden=False)) == []


@pytest.mark.parametrize(
    ("where", "about"),
    [
        ("", set()),
        (" where status = 200", set()),
        (" where step = 'turns'", {"turns"}),
        (" where 'turns' = requests.load and status = 200", {"turns"}),
        (" where step in ('turns', 'more') and status > 0", {"turns", "more"}),
        (" where step = 'turns' or load = 'more'", set()),
        (" where step = lower('TURNS')", set()),
        (" where step != 'turns'", set()),
        (" where step = actor", set()),
    ],
)
def test_what_has_a_limit_on_latency_runs_alone(where: str, about: set[str]) -> None:
    """Where it says which steps it is about, each of them; where that is open, any of the gate's."""
    spec = judged(assertion(from_=f"requests{where}", every="latency_ms < 300"))

    def beside(*alone: str) -> str | None:
        found = sql_problems(spec, alone=frozenset(alone), golden=False)
        return next((each.message for each in found if "limit on latency" in each.message), None)

    assert beside("turns", "more") is None
    said = beside("another") if about else beside()
    who = " and ".join(sorted(about)) or "the gate, or a step of it,"
    assert said == f"a limit on latency (300 ms): {who} needs `exclusive: true`"
    assert (beside("more") is None) == (about <= {"more"})


def test_problems_lead_to_their_place_in_the_yaml() -> None:
    spec = judged(
        assertion(every="lenn(actor) = 1"), with_={"w": Named(query="select 1", at_least=1)}
    )
    found = {
        found.place: found.hint for found in sql_problems(spec, alone=frozenset(), golden=False)
    }
    assert found == {("with", "w", "query"): None, ("assert", 0, "every"): "len"}


def test_the_columns_that_an_assertion_rests_on_are_listed() -> None:
    spec = judged(assertion(every="status = 200 and response->>'$.ok' = 'true' and seq > 0"))
    assert columns_of(compile_gate(BLANK.connection, spec)) == {"it holds": ("status", "response")}

"""A whole answer that is compared with a literal is found however it is written; fields and other answers are not."""

import pytest

from gates.judge.connection import open_blank
from gates.judge.golden import LONG
from gates.judge.style import Style, style_of
from gates.spec.assertion import Named
from tests.gates.judge.runs import assertion, judged

BLANK = open_blank({})
BODY = '{"id": 1, "role": "operator"}'
PAGE = '{"items": [' + ", ".join(f'{{"id": {number}}}' for number in range(20)) + "]}"
PINNED: dict[str, list[dict[str, object]]] = {
    "pinned": [{"route": "/tasks", "response": BODY, "none": ""}]
}


def style(predicate: str, *, from_: str = "requests", **queries: str) -> Style:
    """What is said of one predicate, with some named queries."""
    named = {name: Named(query=query, at_least=1) for name, query in queries.items()}
    spec = assertion(every=predicate, from_=from_)
    return style_of(BLANK.connection, judged(spec, with_=named, data=PINNED))


@pytest.mark.parametrize(
    "predicate",
    [
        f"response = '{BODY}'",
        f"'{BODY}' <> requests.response",
        f"Response::VARCHAR = '{BODY}'",
        f"response::JSON IS NOT DISTINCT FROM '{BODY}'::JSON",
        "response in ('[]', '{}')",
        f"response not in ('{BODY}')",
        f"response between '{BODY}' and '{BODY}'",
        f"case response when '{BODY}' then true else false end",
        f"coalesce(response, '') = '{BODY}'",
        'response = \'{"id": \' || \'1, "role": "operator"}\'',
        "response = json_object('id', 1, 'role', 'operator')::VARCHAR",
        f"response = case when status = 200 then '{BODY}' else '{{}}' end",
        f"lower(trim(replace(response, ' ', ''))) = '{BODY}'",
        "regexp_replace(response, '[0-9]+', '#') = '{\"id\": #}'",
        f"status || response = '200{BODY}'",
        f"row(status, response) = row(200, '{BODY}')",
        f"{{'body': response}} = {{'body': '{BODY}'}}",
        f"[response] = ['{BODY}']",
        f"list_contains(['{BODY}', '{{}}'], response)",
        f"map(['{BODY}'], [true])[response]",
        f"nullif(response, '{BODY}') is null",
        f"levenshtein(response, '{BODY}') = 0",
        f"response like '{BODY}'",
        "regexp_full_match(response, '\\{\"id\": 1\\}')",
        "regexp_matches(response, '^\\{\"id\": 1\\}$')",
        "md5(response) = '0cc175b9c0f1b6a831c399e269772661'",
        "sha256(response->>'$.items') = 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'",
        "left(sha1(response::VARCHAR), 8) || '' = '86f7e437' or md5(response) = '0cc1'",
        f"json_extract(response, '$') = '{BODY}'",
        f"(response->'$')::VARCHAR = '{BODY}'",
        f"response->>'$' = '{BODY}'",
        "json_extract(response, '$.*') = ['1', '\"operator\"']",
        f"response->>'$.items' = '{PAGE}'",
        f"contains(response, '{PAGE}')",
        f"replace(response, '{PAGE}', '') = ''",
        f"left(response, 900) = '{PAGE}'",
        f"response = '{PAGE}' || status",
    ],
)
def test_copies_of_answers(predicate: str) -> None:
    (found, *_) = style(predicate).copies
    assert found.kind == "golden"
    assert found.where == "assert.0.every"


@pytest.mark.parametrize(
    "predicate",
    [
        "response->>'$.degraded' = 'true'",
        "response.role = 'operator'",
        "json_extract(response, '$.items[0].id') = 1",
        "response->>'$.items' = '[]'",
        "response is null or response = ''",
        "response = request",
        "md5(response) = md5(request)",
        "length(response) < 1000 and json_array_length(response, '$.items') = 3",
        "contains(response, 'token') or response like '%token%' or starts_with(response, '{')",
        "regexp_matches(response, 'sk-[a-z]+') or regexp_full_match(response, '\\{.*\\}')",
        "json_keys(response) = ['id', 'role']",
        "left(response, 1) = '{'",
        "status = 200 and headers->>'$.content-type' = 'application/json'",
        "path = '/tasks' and (response->>'$.id') = vars->>'$.id'",
        "case when response is null then 'a' else 'b' end = 'a'",
    ],
)  # fmt: skip
def test_what_is_no_copy(predicate: str) -> None:
    assert style(predicate).copies == []


@pytest.mark.parametrize(
    ("predicate", "query"),
    [
        (f"body = '{BODY}'", "select seq, response as body from requests"),
        (f"b = '{BODY}'", "select * from (select seq, lower(response) from requests) as t(seq, b)"),
        (f"b = '{BODY}'", "with x(s, b) as (select seq, response from requests) select x.b from x"),
        ("same", f"select response as body, body = '{BODY}' as same from requests"),
        ("same", "select r.response = p.response as same from requests r, pinned p"),
        ("seq > 0", f"select seq from requests where response = '{BODY}'"),
        ("seq > 0", "select r.seq from requests r join pinned p on p.response = r.response"),
        ("seq > 0", "select seq from requests join pinned using (response)"),
        ("seq > 0", "select seq from requests natural join pinned"),
        ("seq > 0", "select seq from requests where response in (select response from pinned)"),
        ("seq > 0", "select seq from requests where response = (select p.response from pinned p)"),
        ("seq > 0", f"select max(seq) as seq from requests having max(response) = '{BODY}'"),
        ("seq > 0", f"select seq from requests qualify lag(response) over (order by seq) = '{BODY}'"),
        ("seq > 0", "select response, 1 as seq from requests except select response, 1 from pinned"),
        ("seq > 0", "select seq from requests r where exists (select 1 from pinned p where p.response = r.response)"),
        (f"all_of_them = ['{BODY}']", "select list(response order by seq) as all_of_them from requests"),
        (f"b = '{BODY}'", "select response as b from requests union all select output from commands"),
    ],
)  # fmt: skip
def test_copies_behind_named_queries(predicate: str, query: str) -> None:
    assert style(predicate, from_="w", w=query).copies != []


@pytest.mark.parametrize(
    ("predicate", "query"),
    [
        ("first = second", "select min(response) as first, max(response) as second from requests"),
        ("count = 1", "select count(distinct response) as count from requests"),
        ("same", "select a.response = b.response as same from requests a, requests b"),
        ("role = 'x'", "select r.response->>'$.role' as role from requests r join pinned p on p.route = r.path"),
        ("n = 1", "select row_number() over (partition by response order by seq) as n from requests"),
        ("id = '1'", "select i->>'$.id' as id from (select unnest(json_extract(response, '$.items[*]')) as i from requests)"),
        ("listed = 'a'", "select coalesce(response->>'$.role', path) as listed from requests"),
        ("body = 'a'", "select path as body from (select response as body, path from requests)"),
        ("seq > 0", "select seq from requests where response not in (select none from pinned)"),
    ],
)  # fmt: skip
def test_what_is_no_copy_behind_named_queries(predicate: str, query: str) -> None:
    assert style(predicate, from_="w", w=query).copies == []


def test_a_query_may_use_one_before_it() -> None:
    found = style(
        "b = '{}'", from_="y", x="select response as a from requests", y="select a as b from x"
    )
    assert [each.where for each in found.copies] == ["assert.0.every"]


def test_other_tables() -> None:
    assert style(f"json = '{BODY}'", from_="frames").copies != []
    assert style("json->>'$.type' = 'pong'", from_="frames").copies == []
    # What a command prints is a word more often than a page.
    assert style("output = 'deny'", from_="commands").copies == []
    assert style(f"output = '{PAGE}'", from_="commands").copies != []
    assert style(f"row = '{PAGE}'", from_="rows").copies != []
    assert style("row->>'$.role' = 'observer'", from_="rows").copies == []


def test_where_it_is_said() -> None:
    spec = assertion(
        value="count(*)", is_="= (select count(*) from requests where response = '{}')"
    )
    (found,) = style_of(BLANK.connection, judged(spec)).copies
    text = str(spec.is_)
    assert (found.where, text[found.offset or 0 :][:8]) == ("assert.0.is", "response")
    (found,) = style("status = 200", from_="requests where response = '{}'").copies
    assert found.where == "assert.0.from"


def test_long_literals() -> None:
    long = "x" * (LONG + 1)
    (found,) = style(f"status = 200 or path = '{long}'").long
    assert (found.where, found.offset) == ("assert.0.every", len("status = 200 or path = "))
    assert style(f"path = '{long[:LONG]}'").long == []
    (found,) = style("a", from_="w", w=f"select path = '{long}' as a from requests").long
    assert found.where == "with.w.query"


def test_sql_that_cannot_be_read_is_left_to_the_compiler() -> None:
    assert style("response = '{}' and and") == Style([], [])

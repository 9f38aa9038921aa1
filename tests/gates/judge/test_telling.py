"""A failure is one line: what was expected, what was found, of which row; in the words of SQL."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gates.judge.result import AssertionResult
from gates.judge.telling import line, pairs, value
from tests.gates.judge.runs import Run, assertion


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (None, "NULL"),
        ("", "''"),
        ("  ", "'  '"),
        ("NULL", "'NULL'"),
        (True, "true"),
        ("true", "'true'"),
        (200, "200"),
        ("200", "'200'"),
        (103.70349999, "103.7"),
        (0.1 + 0.2, "0.3"),
        (1960.34, "1960.3"),
        (12.0, "12"),
        (float("nan"), "nan"),
        ("operator", "operator"),
        ("/v1/turn", "/v1/turn"),
        ("two words", "'two words'"),
        ("it's", "'it''s'"),
        ("a\nb", "'a b'"),
        ({"a": None, "b": [True, ""]}, '{"a": null, "b": [true, ""]}'),
        ([], "[]"),
        ("x" * 100, f"'{'x' * 79}…'"),
    ],
)
def test_values_are_written_as_sql_has_them(one: object, said: str) -> None:
    assert value(one) == said


def test_a_row_begins_with_what_the_predicate_looks_at() -> None:
    row = {"seq": 7, "status": 200, "error": None, "service_ms": 103.7}
    assert pairs(row, ["service_ms", "error", "gone"]) == "service_ms=103.7 error=NULL seq=7"
    remarked = {**row, "error": "the body was cut: 7 bytes more"}
    assert pairs(remarked, ["service_ms"]) == (
        "service_ms=103.7 error='the body was cut: 7 bytes more' seq=7"
    )


NewRun = Callable[..., Run]
ResultOf = Callable[..., AssertionResult]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"every": "status = 200\n  and service_ms < 0.5"},
            (
                "expected every row has status = 200 and service_ms < 0.5;"
                " found 12 of 12 rows violating it; first: status=200 service_ms=2 seq=0"
            ),
        ),
        (
            {"none": "actor = 'operator'"},
            "expected no row has actor = 'operator'; found 12 of 12 rows violating it; first: actor=operator seq=0",
        ),
        (
            {"every": "error = 'x'"},
            "expected every row has error = 'x'; found 12 of 12 rows violating it (NULL for 12); first: error=NULL seq=0",
        ),
        (
            {"every": "response->>'$.n' = '4' and (headers->'$.x') is not null"},
            (
                "expected every row has response->>'$.n' = '4' and (headers->'$.x') is not null; found 12 of 12 rows"
                " violating it; first: response->>'$.n'='3' headers->'$.x'=NULL seq=0"
            ),
        ),
        (
            {"share": "status = 500", "is_": ">= 0.9"},
            "expected the share of rows with status = 500 is >= 0.9; found 0, 0 of 12 rows; first: status=200 seq=0",
        ),
        (
            {"value": "max(service_ms)", "is_": "< 1"},
            "expected max(service_ms) < 1; found 2",
        ),
        (
            {"every": "status = 200", "at_least": 50},
            "expected every row has status = 200; only 12 of at least 50 rows: too few to say anything",
        ),
    ],
)
def test_one_line_says_it(
    new_run: NewRun, result_of: ResultOf, changes: dict[str, object], said: str
) -> None:
    directory: Path = new_run().plain(12).close()
    result = result_of(directory, assertion(**changes))
    assert result.status in ("FAIL", "UNKNOWN")
    assert line(result) == f"it holds: {said}"


def test_every_column_that_is_judged_is_shown_of_a_row_however_long_it_is() -> None:
    row: dict[str, object] = {name: name * 100 for name in "abcdefgh"} | {"z": None, "seq": 3}
    told = pairs(row, [*"abcdefgh", "z"])
    assert told.endswith(" z=NULL seq=3")
    assert all(f"{name}='" in told for name in "abcdefgh")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select 7.0 from steps", "several rows"),
        ("select count(*) + 1 from requests", "found 20, where the query in `is:` gives 21"),
        (
            "select seq from steps where false",
            "the query in `is:` gives no row, not one finite number",
        ),
        ("select max(error) from requests", "the query in `is:` gives NULL, not one finite number"),
        ("select count(*), 1 from requests", "the query in `is:` gives 2 columns, not one finite"),
    ],
)
def test_what_the_other_side_gives_is_told(
    query: str, said: str, plain_run: Path, result_of: ResultOf
) -> None:
    spec = assertion(every=None, value="count(*)", is_=f"= ({query})")
    assert said in line(result_of(plain_run, spec))

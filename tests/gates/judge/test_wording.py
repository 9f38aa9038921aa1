"""What DuckDB says is told in words for whoever writes a gate."""

import pytest

from gates.judge.connection import open_blank
from gates.judge.lint import check
from gates.judge.wording import TOO_DEEP, plain
from gates.spec.assertion import Named
from tests.gates.judge.runs import assertion, judged

BLANK = open_blank({})


@pytest.mark.parametrize(
    ("every", "said"),
    [
        ("(" * 1500 + "status" + ")" * 1500 + " = 200", TOO_DEEP),
        ("not " * 1500 + "status = 200", TOO_DEEP),
        ("status = " + "+".join(["1"] * 1500), TOO_DEEP),
        ("statsu = 200", 'there is no column statsu; did you mean "status"?'),
        ("requests.statsu = 200", 'there is no column statsu; did you mean "status"?'),
        ("regexp_matches(path, '(')", "re2 does not read this regular expression: missing ): ("),
        ("", "there is no SQL here"),
        ("  ", "there is no SQL here"),
        ("length(status) = 1", "there is no function length(BIGINT) of such arguments: cast them"),
        ("other.status = 200", "there is no table other here"),
    ],
)
def test_problems_of_an_expression(every: str, said: str) -> None:
    (problem,) = check(BLANK, judged(assertion(every=every)))[0]
    assert problem.message == said
    assert problem.where == "assert.0.every"


@pytest.mark.parametrize("times", [50, 150, 300, 400, 490, 700, 990])
@pytest.mark.parametrize("shape", ["not {}", "abs({})", "[{}]", "case when true then {} end"])
def test_no_depth_breaks_anything(times: int, shape: str) -> None:
    """Whatever DuckDB reads, and whoever walks it."""
    every = "status"
    for _ in range(times):
        every = shape.format(every)
    problems = check(BLANK, judged(assertion(every=every)))[0]
    if times >= 150:
        assert [problem.message for problem in problems] == [TOO_DEEP]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select * from (" * 700 + "select seq, path from requests" + ")" * 700, TOO_DEEP),
        ("select seq, statsu from requests", 'there is no column statsu; did you mean "status"?'),
        (
            "select seq, status from requests group by status",
            "the column seq is neither grouped by nor inside of an aggregate",
        ),
        ("select r.path from requests a", "there is no table r here"),
    ],
)
def test_problems_of_a_query(query: str, said: str) -> None:
    named = {"w": Named(query=query, at_least=1)}
    problems = check(BLANK, judged(assertion(from_="w", every="path = 'x'"), with_=named))[0]
    assert (problems[0].message, problems[0].where) == (said, "with.w.query")


@pytest.mark.parametrize("name", ["my query", "Mine", "1st", ""])
def test_what_is_no_name(name: str) -> None:
    named = {name: Named(query="select seq, path from requests", at_least=1)}
    (problem, *_) = check(BLANK, judged(assertion(every="status = 200"), with_=named))[0]
    assert problem.message.startswith(f"{name!r} is no name: it takes lower-case letters")


def test_messages_are_one_line() -> None:
    long = 'Could not parse string "a" according to format\na\n^\nError: Expected a number\n\nLINE 1: SELECT x'
    assert (
        plain(long) == 'Could not parse string "a" according to format a ^ Error: Expected a number'
    )

"""Which columns a piece of SQL could name."""

import duckdb
import pytest

from gates.judge import syntax


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select Status from requests where step = 'x'", {"status", "step"}),
        ("select r.status as s from requests r order by s", {"r", "status", "s"}),
        ("select count(*) from requests", set()),
        ("select count(*) from requests r join steps using (seq)", {"seq"}),
        (
            "select list_filter(touched, lambda x: x <> error) from requests",
            {"touched", "x", "error"},
        ),
        ("select (select max(latency_ms) from requests) from steps", {"latency_ms"}),
        ("select * from requests", None),
        ("select count(*) from (from requests)", None),
        ("select seq from requests natural join steps", None),
        ("select requests from requests", None),
        ("select to_json(r) from requests as r", None),
        ("with w as (select seq from requests) select w from w", None),
    ],
)
def test_words_of_a_query(sql: str, words: set[str] | None) -> None:
    (tree,) = syntax.parse(duckdb.connect(), [sql])
    assert isinstance(tree, syntax.Tree)
    assert syntax.words(tree.node) == words

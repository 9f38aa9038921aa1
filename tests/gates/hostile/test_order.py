"""Order decides nothing: what depends on it orders totally, and a total order is no matter of the rows that there happen to be."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chaos.evidence.schema import sealed_columns
from gates.judge import tables
from gates.judge.connection import Evidence, open_blank
from gates.judge.lint import check
from gates.judge.problem import Problem
from gates.judge.result import AssertionResult
from gates.spec.assertion import Named
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

BLANK = open_blank({})
PEOPLE: list[dict[str, object]] = [
    {"name": "ann", "team": "a"},
    {"name": "bob", "team": "a"},
]


def problems_of(query: str, column: str = "n") -> list[Problem]:
    spec = assertion(from_="w", every=f"{column} is not null")
    named = {"w": Named(query=query, at_least=1)}
    return check(BLANK, judged(spec, with_=named, data={"people": PEOPLE}))[0]


OPEN = [
    # Rows that LIMIT keeps.
    "select seq, path as n from requests order by status limit 1",
    "select seq, path as n from requests order by status, path limit 1",
    "select path as n, status from requests order by 1 limit 3",
    "select status as seq, path as n from requests order by seq limit 1",
    "select seq % 2 as seq, path as n from requests order by seq limit 1",
    "select path as n from requests order by seq % 7 limit 1",
    "select path as n from requests order by coalesce(status, seq) limit 1",
    "select path as n from requests order by run_id, gate limit 1",
    "select path as n from requests order by 'seq' limit 1",
    "select path as n from requests order by status offset 3",
    "select a.path as n from requests a join requests b on a.status = b.status order by a.seq limit 1",
    "select b.path as n from steps s left join requests b on b.step = s.name order by s.seq limit 1",
    "select actor, count(*) as n from requests group by actor, step order by actor limit 1",
    "select actor, count(*) as n from requests group by all order by count(*) limit 1",
    "select distinct actor as n, status from requests order by status limit 1",
    "select path as n, status from requests union all select method, status from requests order by status limit 1",
    "with a as (select status as seq, path from requests) select path as n from a order by seq limit 1",
    "select n from (select status as seq, path as n from requests) order by seq limit 1",
    "select seq, unnest(during) as n from requests order by seq limit 1",
    "select seq, (select s.name from steps s order by s.kind limit 1) as n from requests",
    "select name as n, r.seq from people p join requests r on true order by r.seq limit 1",
    "select path as n from requests where exists (select 1 from steps order by kind limit 1)",
    "select r.path as n from requests r, steps s order by r.seq limit 1",
    # Windows.
    "select seq, row_number() over (order by status) as n from requests",
    "select seq, row_number() over (partition by status order by path) as n from requests",
    "select seq, lag(path) over (order by sent_ms) as n from requests",
    "select seq, lead(path) over (order by intended_ms, status) as n from requests",
    "select seq, first_value(path) over (order by status) as n from requests",
    "select seq, last_value(path) over (partition by step order by status) as n from requests",
    "select seq, nth_value(path, 2) over (order by status) as n from requests",
    "select seq, ntile(4) over (order by status) as n from requests",
    "select seq, count(*) over (order by status rows between 1 preceding and current row) as n from requests",
    "select seq, max(status) over (rows between unbounded preceding and current row) as n from requests",
    "select seq as n from requests qualify row_number() over (order by status) = 1",
    "select a.seq, row_number() over (order by a.seq) as n from requests a join steps s on true",
    "select actor, row_number() over (order by count(*)) as n from requests group by actor",
    "select status as seq, row_number() over (order by step) as n from requests",
    # Lists.
    "select list(path order by status) as n from requests",
    "select step, string_agg(path, ',' order by status) as n from requests group by step",
    "select json_group_array(path order by method) as n from requests",
    "select array_agg(r.path order by r.seq) as n from requests r join steps s on true",
    "select group_concat(path, ' ' order by length(path)) as n from requests",
    "select list(path order by seq % 2) as n from requests",
    # Places in memory, and what takes the nearest.
    "select rowid as n, seq from requests",
    "select r.rowid as n, seq from requests r",
    "select seq, path as n from requests order by rowid limit 1",
    "select seq, row_number() over (order by rowid) as n from requests",
    "select r.seq, s.name as n from requests r asof join steps s on r.sent_ms >= s.began_ms",
]  # fmt: skip


@pytest.mark.parametrize("query", OPEN)
def test_an_order_that_is_left_open_is_refused(query: str) -> None:
    (problem, *_) = problems_of(query)
    assert (problem.kind, problem.where) in (
        ("order", "with.w.query"),
        ("function", "with.w.query"),
    )


@pytest.mark.parametrize(
    "query",
    [
        "select path as n from requests order by seq limit 1",
        "select path as n from requests order by status, seq desc limit 1",
        "select seq as n, path from requests order by 1 limit 1",
        "select path as n from requests order by n limit 3",
        "select distinct path as n from requests order by n limit 1",
        "select path as n from (select distinct path from requests) order by path limit 1",
        "select r.path as n from requests r where step = 'x' order by r.seq limit 5 offset 2",
        "select a.path as n from requests a join steps s on s.name = a.step order by a.seq, s.seq limit 1",
        "select a.path as n from requests a left join requests b on b.seq = a.seq order by a.seq limit 1",
        "select r.path as n from requests r left join people p on p.name = r.actor order by r.seq limit 1",
        "select actor as n, count(*) as many from requests group by actor order by actor limit 1",
        "select actor as n, step, count(*) from requests group by all order by count(*), 2, 1 limit 1",
        "select count(*) as n from requests order by n limit 1",
        "select path as n, status from requests union all select method, status from requests order by 2, 1 limit 1",
        "with a as (select *, status as code from requests) select path as n from a order by code, seq limit 1",
        "select n from (select seq as place, path as n from requests) order by place limit 1",
        "select seq, unnest(during) as n from requests order by seq, n limit 1",
        "select seq, (select s.name from steps s order by s.kind, s.seq limit 1) as n from requests",
        "select seq, (select max(s.ended_ms) from steps s) as n from requests",
        "select seq, row_number() over (order by status, seq) as n from requests",
        "select seq, row_number() over (partition by step order by seq) as n from requests",
        "select seq, lag(path) over (partition by step order by sent_ms, seq) as n from requests",
        "select seq, rank() over (order by status) as n from requests",
        "select seq, dense_rank() over (partition by step order by sent_ms) as n from requests",
        "select seq, min(path) over (partition by step) as n from requests",
        "select seq, count(*) over (order by status) as n from requests",
        "select seq, count(*) over (order by seq rows between 1 preceding and current row) as n from requests",
        "select seq as n from requests qualify row_number() over (partition by path order by seq) = 1",
        "select actor, row_number() over (order by actor) as n from requests group by actor",
        "select step, actor, row_number() over (partition by step order by count(*), actor) as n from requests group by step, actor",
        "select list(path order by path) as n from requests",
        "select list(distinct path order by path desc) as n from requests",
        "select step, string_agg(path, ',' order by sent_ms, seq) as n from requests group by step",
        "select list(r.path order by r.seq, s.seq) as n from requests r join steps s on true",
        "select list(r.path order by r.seq) as n from requests r left join people p on p.name = r.actor",
        "select step, list(status order by status) as n from requests group by step",
    ],
)  # fmt: skip
def test_a_total_order_is_fine(query: str) -> None:
    assert problems_of(query) == []


def test_a_list_inside_of_a_value_is_ordered_by_what_it_collects() -> None:
    def told(value: str) -> list[str]:
        return [p.kind for p in check(BLANK, judged(assertion(value=value, is_="= 1")))[0]]

    assert told("len(list(path order by status))") == ["order"]
    assert told("len(list(distinct path order by path))") == []
    assert told("len(list(path order by seq))") == []


@pytest.mark.parametrize(
    ("order", "kinds"), [("status", ["order"]), ("seq", []), ("status, seq", [])]
)
def test_the_query_of_an_is_orders_totally(order: str, kinds: list[str]) -> None:
    spec = assertion(value="max(seq)", is_=f"= (select seq from requests order by {order} limit 1)")
    assert [p.kind for p in check(BLANK, judged(spec))[0]] == kinds


def test_a_verdict_that_the_order_of_rows_decides_is_unknown(
    new_run: Callable[..., Run], result_of: Callable[..., AssertionResult]
) -> None:
    """Sums of doubles differ in their last bits, which no text tells."""
    run = new_run().begin()
    for sent_ms in (1.0, 1e16, -1e16):
        run.request(sent_ms=sent_ms, done_ms=sent_ms)
    directory = run.step("control.0").step("scenario.0").end().close()
    spec = assertion(value="sum(sent_ms)", is_="= 0", at_least=3)
    result = result_of(directory, spec)
    assert (result.status, "the order of the rows decides" in result.why) == ("UNKNOWN", True)


def test_evidence_in_another_order_is_not_what_was_sealed(
    begun: Run, sealed: Callable[..., Evidence]
) -> None:
    def turned(release: Path) -> None:
        path = release / "evidence" / "requests.parquet"
        path = path if path.exists() else release / "requests.parquet"
        with duckdb.connect() as duck:
            names = ", ".join(map(tables.quoted, sealed_columns("requests")))
            duck.execute(f"CREATE TABLE t AS SELECT {names} FROM '{path}' ORDER BY seq DESC")
            duck.execute(f"COPY t TO '{path}' (FORMAT parquet)")

    spec = judged(assertion(every="status = 200"))
    assert verdict_of(sealed(begun.close()), spec).status == "PASS"
    directory = begun.directory
    verdict = verdict_of(sealed(directory, spoil=turned), spec)
    assert verdict.status == "UNKNOWN"
    assert "the table requests is not what was sealed" in verdict.detail

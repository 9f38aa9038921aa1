"""What assertions are decided by, against models that are too simple to be wrong in the same way."""

import itertools
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import comb
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.evidence import schema
from chaos.evidence.sealing import Loader
from gates.judge import binomial, comparator
from gates.judge.comparator import Between, Simple
from gates.judge.connection import Evidence
from gates.judge.deciding import Measurement, finite
from gates.judge.result import AssertionResult, Status, merge
from gates.prove.evaluate import evaluate
from gates.spec.assertion import Named
from tests.gates.judge.runs import Run, assertion

ResultOf = Callable[..., AssertionResult]
FIXED = settings(max_examples=60, derandomize=True)
STATUSES = st.lists(st.sampled_from(["PASS", "FAIL", "UNKNOWN"]), min_size=1, max_size=5)
OPERATORS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": lambda a, b: b - a > 0,
    "<=": lambda a, b: b - a >= 0,
    ">": lambda a, b: a - b > 0,
    ">=": lambda a, b: a - b >= 0,
    "=": lambda a, b: a - b == 0,
    "!=": lambda a, b: a - b != 0,
}
EXACT = st.decimals(-1000, 1000, places=3) | st.integers(-(10**18), 10**18)


# -- merging


@FIXED
@given(STATUSES)
def test_merging_again_changes_nothing(statuses: list[Status]) -> None:
    once = merge(statuses)
    assert merge([once]) == merge([once, once]) == merge([*statuses, once]) == once


@FIXED
@given(STATUSES)
def test_nothing_that_is_added_makes_a_pass(statuses: list[Status]) -> None:
    for more in ("PASS", "FAIL", "UNKNOWN"):
        if merge([*statuses, more]) == "PASS":
            assert merge(statuses) == "PASS"


def test_of_any_three_the_worst_counts() -> None:
    for three in itertools.product(("PASS", "FAIL", "UNKNOWN"), repeat=3):
        worst = next(one for one in ("FAIL", "UNKNOWN", "PASS") if one in three)
        assert merge(three) == worst


# -- comparing


@FIXED
@given(EXACT, EXACT, st.sampled_from(list(OPERATORS)))
def test_comparators_are_those_of_arithmetic(
    value: int | Decimal, bound: int | Decimal, operator: str
) -> None:
    parsed = comparator.parse(f"{operator} {Decimal(bound):f}")
    assert isinstance(parsed, Simple)
    expected = OPERATORS[operator](Fraction(value), Fraction(bound))
    assert comparator.holds(parsed, value) == expected


@FIXED
@given(EXACT, EXACT, EXACT)
def test_between_includes_its_ends_and_nothing_else(
    value: int | Decimal, one: int | Decimal, other: int | Decimal
) -> None:
    low, high = sorted((Fraction(one), Fraction(other)))
    bounds = sorted((Decimal(one), Decimal(other)))
    assert comparator.holds(Between(*bounds), value) == (low <= Fraction(value) <= high)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, None, True, "5", Decimal("nan"), Decimal("inf"), [5], {}],
)
def test_what_is_no_finite_number_is_compared_with_nothing(value: object) -> None:
    assert finite(value) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "5", "<", "< nan", "< inf", "< -inf", "< 0x10", "< 1_000", "< ٣", "< 1e", "< 5 or true", "<< 5",
        "between 1", "between 2 and 1", "between 1 and nan", "= (delete from requests)", "= select 1", "> 5; select 1",
        "is not null", "< 5 -- fine",
    ],
)  # fmt: skip
def test_comparators_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected something like|nothing lies between"):
        comparator.parse(text)


# -- percentiles


def exactly(slow: int, sample: int, share: Fraction) -> Fraction:
    """P(X <= slow), counted out."""
    terms = (
        comb(sample, k) * share**k * (1 - share) ** (sample - k)
        for k in range(min(slow, sample) + 1)
    )
    return sum(terms, Fraction(0))


@FIXED
@given(st.integers(1, 700), st.integers(0, 30), st.sampled_from(["0.5", "0.9", "0.95", "0.99"]))
def test_percentiles_are_proven_and_refuted_by_the_exact_bounds(
    sample: int, slow: int, quantile: str
) -> None:
    slow, share = min(slow, sample), 1 - Fraction(quantile)
    limit = Fraction(1, 20)
    below = exactly(slow, sample, share)
    above = 1 - (exactly(slow - 1, sample, share) if slow else 0)
    # On the very edge, where rounding decides, nothing may be said, too.
    assert binomial.proves(slow, sample, float(quantile)) == (below <= limit) or below == limit
    assert binomial.refutes(slow, sample, float(quantile)) == (above <= limit) or above == limit


def test_of_nothing_no_percentile_is_proven_or_refuted() -> None:
    assert not binomial.proves(0, 0, 0.99)
    assert not binomial.refutes(0, 0, 0.99)


# -- populations

UNKNOWN_OVER_A_GOOD_RUN = {
    "too few": {"every": "status = 200", "at_least": 21},
    "nobody": {"from_": "requests where status = 999", "none": "status = 500"},
    "nobody of a value": {"from_": "requests where false", "value": "max(status)", "is_": "< 300"},
    "all NULL": {"value": "avg((response->>'$.gone')::DOUBLE)", "is_": "< 500"},
    "some NULL": {"value": "max((response->>'$.gone')::INTEGER)", "is_": "< 5", "at_least": 1},
    "NaN": {"every": "(status - 200) / (status - 200) >= 0.99"},
    "infinity": {"every": "status / (status - 200) > 5"},
    "NaN of a value": {"value": "sum(status) / 0", "is_": ">= 0.99"},
    "infinity of a value": {"value": "max(1e308 * status)", "is_": "> 5"},
    "NaN by a cast": {"every": "'nan'::DOUBLE + status >= 0.99"},
    "constant": {"every": "status = 200 or true"},
    "constant by CASE": {"every": "CASE WHEN status = 200 THEN true ELSE true END"},
    "constant by coalesce": {"none": "coalesce(NULL, false) and status = 200"},
    "constant by length": {"every": "length(path) >= 0 or path is null"},
    "raises": {"every": "path::INTEGER = 200"},
    "raises sometimes": {"every": "(100 // (status - 200)) > 5"},
    "many numbers": {"value": "count(*)", "is_": "= (select status from requests)"},
}


@pytest.mark.parametrize("changes", UNKNOWN_OVER_A_GOOD_RUN.values(), ids=UNKNOWN_OVER_A_GOOD_RUN)
def test_over_a_good_run_it_is_no_pass(
    plain_run: Path, result_of: ResultOf, changes: dict[str, object]
) -> None:
    result = result_of(plain_run, assertion(**changes))
    assert result.status != "PASS", result.why


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("select r.* from requests r, faults", {"every": "status = 200"}),
        ("select r.* from requests r, steps s, steps t", {"at_least": 21, "every": "status = 200"}),
        ("select * from requests union all select * from requests", {"share": "status = 200", "is_": "> 0.5"}),
        ("select * from requests union all select * from requests", {"at_least": 21, "every": "status = 200"}),
        ("select status from requests", {"at_least": 2, "every": "status = 200"}),
        ("select r.seq, 200 as status from requests r", {"every": "status = 200"}),
        ("select seq, status from requests where status = 999", {"none": "status = 500", "at_least": 1}),
        ("select max(status) as status from requests where false", {"none": "status = 500", "at_least": 1}),
    ],
)  # fmt: skip
def test_a_query_makes_no_population_out_of_nothing(
    plain_run: Path, result_of: ResultOf, query: str, changes: dict[str, object]
) -> None:
    named = {"w": Named(query=query, at_least=1)}
    result = result_of(plain_run, assertion(from_="w", **changes), with_=named)
    assert result.status != "PASS", result.why


def test_a_percentile_of_a_join_with_itself_is_none(plain_run: Path, result_of: ResultOf) -> None:
    """Twenty requests are no four hundred observations, whatever numbers their pairs are given."""
    query = "select r.latency_ms, row_number() over (order by r.seq, s.seq) as n from requests r, requests s"
    spec = assertion(from_="w", value="quantile_cont(latency_ms, 0.99)", is_="< 500", at_least=299)
    result = result_of(plain_run, spec, with_={"w": Named(query=query, at_least=299)})
    assert (result.status, "are no observations" in result.why) == ("UNKNOWN", True)


def test_one_degraded_answer_in_eighty_is_not_degraded(
    new_run: Callable[..., Run], result_of: ResultOf
) -> None:
    run = new_run().plain(79).request(response={"degraded": True}, sent_ms=900.0, done_ms=901.0)
    spec = assertion(share="response->>'$.degraded' = 'true'", is_=">= 0.9")
    assert result_of(run.close(), spec).status == "FAIL"


def test_a_predicate_that_its_population_implies_is_killed_by_nothing() -> None:
    """No evidence can turn it red. The judge cannot see that of every predicate; its proof does."""
    proof = evaluate("g", ["implied"], [], [], [], needs_sham=False, stale={})
    assert not proof.proven
    assert "nothing kills 'implied'" in str(proof.why)


def test_a_measurement_of_nothing_decides_nothing() -> None:
    assert Measurement(0, 0, 0).population == 0
    assert merge([]) == "UNKNOWN"


# -- windows

TIMES = st.integers(0, 12)
WINDOWS = st.lists(st.tuples(TIMES, TIMES, TIMES, TIMES).map(sorted), min_size=1, max_size=3)
CALLS = st.lists(st.tuples(TIMES, st.none() | TIMES), min_size=1, max_size=8)


def met(
    call: tuple[int, int | None], windows: list[list[int]], proven: list[bool]
) -> tuple[list[str], list[str]]:
    """(during, touched) of one request, by looking at every window on its own."""
    sent, done = call
    during, touched = set(), set()
    for number, (on, proven_at, off, clean) in enumerate(windows):
        name = f"f{number % 2}"
        if sent <= clean and (done is None or done >= on):
            touched.add(name)
            inside = proven[number] and sent >= proven_at and done is not None and done <= off
            during |= {name} if inside else set()
    return sorted(during), sorted(touched)


@settings(max_examples=25, derandomize=True)
@given(WINDOWS, CALLS, st.lists(st.booleans(), min_size=3, max_size=3))
def test_what_a_request_was_inside_of_and_what_it_touched(
    live: tuple[Evidence, Loader],
    tmp_path_factory: pytest.TempPathFactory,
    windows: list[list[int]],
    calls: list[tuple[int, int | None]],
    proven: list[bool],
) -> None:
    calls = [(sent, None if done is None else max(sent, done)) for sent, done in calls]
    run = Run(tmp_path_factory.mktemp("windows")).begin()
    for number, (on, proven_at, off, clean) in enumerate(windows):
        run.fault(
            f"f{number % 2}",
            on_ms=float(on),
            proven_ms=float(proven_at) if proven[number] else None,
            off_ms=float(off),
            clean_ms=float(clean),
            proven=proven[number],
        )
    for sent, done in calls:
        run.request(answered=done is not None, sent_ms=float(sent), done_ms=float(done or 0))
    evidence, loader = live
    loader.load([run.end().close()])
    evidence.refresh()
    found = evidence.connection.execute(
        "SELECT during, touched FROM evidence.requests ORDER BY seq"
    ).fetchall()
    assert [(list(a), list(b)) for a, b in found] == [met(call, windows, proven) for call in calls]


def test_the_edges_of_a_window_are_of_no_use(tmp_path: Path, result_of: ResultOf) -> None:
    """Requests that a fault released when it ended were not answered in it."""
    run = Run(tmp_path).begin().fault()
    for number in range(20):
        run.request(sent_ms=150.0 + number, done_ms=201.0 + number)
    directory = run.step("control.0").step("scenario.0").end().close()
    inside = assertion(from_="requests where list_contains(during, 'outage')", every="status = 200")
    result = result_of(directory, inside)
    assert (result.status, "only 0 of at least" in result.why) == ("UNKNOWN", True)


def test_every_table_has_its_times_under_names_of_their_own() -> None:
    """A name that two tables shared would bind to the wrong one inside a subquery, without a word."""
    times: dict[str, str] = {}
    for table in schema.TABLES:
        for column in schema.raw_columns(table):
            if column.endswith("_ms"):
                assert times.setdefault(column, table) == table

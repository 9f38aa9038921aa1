"""Sketches against the exact quantiles of what they counted."""

import math

from hypothesis import given
from hypothesis import strategies as st

from service.reliability.sketch import ACCURACY, LEAST, MOST, MOST_BUCKETS, Recent, Sketch, merged

VALUES = st.one_of(
    st.floats(LEAST, MOST), st.floats(0, LEAST), st.integers(1, 5000), st.just(math.inf)
)


def sketch(values: list[float]) -> Sketch:
    found = Sketch()
    for each in values:
        found.add(each)
    return found


@given(st.lists(VALUES, min_size=1, max_size=300), st.floats(0, 1))
def test_a_quantile_is_within_the_accuracy_of_the_exact_one(values: list[float], q: float) -> None:
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    found = sketch(values).quantile(q)
    assert found is not None
    if exact > MOST:
        assert found == math.inf
    else:
        floored = max(exact, LEAST)
        assert abs(found - floored) <= ACCURACY * floored * (1 + 1e-9)


@given(st.lists(st.lists(VALUES, max_size=50), max_size=6), st.floats(0, 1))
def test_merged_sketches_are_the_sketch_of_all(parts: list[list[float]], q: float) -> None:
    together = merged(sketch(each) for each in parts)
    whole = sketch([value for each in parts for value in each])
    assert (together.count, together.quantile(q)) == (whole.count, whole.quantile(q))


def test_buckets_are_bounded() -> None:
    everything = sketch([1.005**n * 1e-6 for n in range(8000)])
    assert len(everything.buckets) == MOST_BUCKETS


def test_nothing_has_no_quantile() -> None:
    assert Sketch().quantile(0.5) is None


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 100)), min_size=1, max_size=60))
def test_a_window_holds_its_last_seconds_and_the_present_one(
    steps: list[tuple[float, int]],
) -> None:
    recent, now_s, seen = Recent(5), 0.0, []
    for pause_s, value in steps:
        now_s += pause_s
        recent.add(now_s, value)
        seen.append((math.floor(now_s), value))
    for seconds in (1, 3, 5):
        expected = [value for second, value in seen if second >= math.floor(now_s) - seconds]
        found = recent.over(now_s, seconds)
        assert (found.count, found.buckets) == (len(expected), sketch([*expected]).buckets)
    assert recent.over(now_s + 100, 5).count == 0

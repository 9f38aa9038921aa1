"""Places and round values of scales."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.html.scale import Scale, decades

NUMBERS = st.floats(-1e9, 1e9)


@given(NUMBERS, NUMBERS, NUMBERS, st.booleans())
def test_every_value_has_a_place_within_the_picture(
    low: float, high: float, value: float, log: bool
) -> None:
    scale = Scale(low=low, high=high, start_px=10.0, end_px=90.0, log=log)
    assert 10.0 <= scale.px(value) <= 90.0


def test_values_go_from_the_start_to_the_end() -> None:
    scale = Scale(low=0, high=200, start_px=0, end_px=100)
    assert [scale.px(value) for value in (0, 50, 200, 400)] == [0, 25, 100, 100]


def test_decades_are_evenly_spaced_on_a_logarithmic_scale() -> None:
    scale = Scale(low=1, high=100, start_px=0, end_px=100, log=True)
    assert scale.px(10) == 50
    assert scale.ticks(5) == [1, 10, 100]


@given(st.floats(0, 1e6), st.floats(1, 1e6), st.integers(2, 9))
def test_ticks_are_few_and_within(low: float, span: float, most: int) -> None:
    scale = Scale(low=low, high=low + span, start_px=0, end_px=100)
    ticks = scale.ticks(most)
    assert len(ticks) <= most + 1
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_ticks_of_nothing_are_no_endless_list() -> None:
    assert len(Scale(low=5, high=5, start_px=0, end_px=100).ticks(9)) <= 1


@given(st.floats(1e-3, 1e6), st.floats(1, 1e3))
def test_decades_enclose_both_values(low: float, factor: float) -> None:
    first, last = decades(low, low * factor)
    assert first <= low * 1.000001
    assert last >= low * factor * 0.999999
    assert last >= first * 10 * 0.999999
    assert math.log10(first) == pytest.approx(round(math.log10(first)))

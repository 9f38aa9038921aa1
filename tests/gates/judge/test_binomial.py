"""Bounds of percentiles: the numbers of rule 19, and what holds for all samples."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.judge import binomial

SAMPLES = st.integers(1, 400)
QUANTILES = st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999])


def exactly_at_most(successes: int, trials: int, share: Fraction) -> Fraction:
    return sum(
        (comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(successes + 1)),
        Fraction(0),
    )


@pytest.mark.parametrize(("quantile", "least"), [(0.95, 59), (0.99, 299), (0.999, 2995), (0.5, 5)])
def test_the_smallest_sample_is_the_first_that_proves_with_none_slow(
    quantile: float, least: int
) -> None:
    assert binomial.smallest_sample(quantile) == least
    assert binomial.proves(0, least, quantile)
    assert not binomial.proves(0, least - 1, quantile)


@pytest.mark.parametrize(("slow", "sample"), [(0, 299), (1, 473), (2, 628)])
def test_more_slow_ones_need_larger_samples(slow: int, sample: int) -> None:
    assert binomial.proves(slow, sample, 0.99)
    assert not binomial.proves(slow, sample - 1, 0.99)
    assert not binomial.proves(slow + 1, sample, 0.99)


def test_between_the_bounds_nothing_is_said() -> None:
    assert not binomial.proves(3, 300, 0.99)
    assert not binomial.refutes(3, 300, 0.99)
    assert binomial.refutes(12, 300, 0.99)


def test_large_samples_neither_overflow_nor_lose_their_tail() -> None:
    assert binomial.proves(1200, 136_000, 0.99)
    assert binomial.refutes(1500, 136_000, 0.99)
    assert 0 < binomial.at_most(1200, 136_000, 0.01) < 1e-4


@pytest.mark.parametrize("quantile", [0.0, 1.0, -1.0, 1.5])
def test_no_sample_proves_what_is_no_quantile(quantile: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        binomial.smallest_sample(quantile)


@given(SAMPLES, st.integers(0, 400), st.sampled_from([1, 5, 50, 95]))
def test_the_distribution_is_the_exact_one(trials: int, successes: int, percent: int) -> None:
    expected = exactly_at_most(min(successes, trials), trials, Fraction(percent, 100))
    assert binomial.at_most(successes, trials, percent / 100) == pytest.approx(
        float(expected), rel=1e-9, abs=1e-12
    )


@given(SAMPLES, st.integers(0, 400), QUANTILES)
def test_nothing_is_proven_and_refuted(sample: int, slow: int, quantile: float) -> None:
    slow = min(slow, sample)
    assert not (
        binomial.proves(slow, sample, quantile) and binomial.refutes(slow, sample, quantile)
    )


@given(SAMPLES, st.integers(0, 399), QUANTILES)
def test_another_slow_one_never_helps(sample: int, slow: int, quantile: float) -> None:
    slow = min(slow, sample - 1)
    assert binomial.proves(slow, sample, quantile) or not binomial.proves(
        slow + 1, sample, quantile
    )
    assert not binomial.refutes(slow, sample, quantile) or binomial.refutes(
        slow + 1, sample, quantile
    )

"""Bounds on a share that was seen in a sample: what a percentile can be judged by.

A percentile is a claim about a share: "p99 < 500 ms" says that at most 1% are slower. The one-sided 95%
bounds are those of Clopper and Pearson (Biometrika 26, 1934), computed from the exact distribution.
"""

import math

SIGNIFICANCE = 0.05
"""One minus the confidence of every bound."""

_NEGLIGIBLE = 1e-18


def smallest_sample(quantile: float) -> int:
    """The smallest sample in which none slow proves the quantile: 59 for p95, 299 for p99, 2995 for p99.9."""
    if not 0 < quantile < 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {quantile}")
    return math.ceil(math.log(SIGNIFICANCE) / math.log(quantile))


def at_most(successes: int, trials: int, share: float) -> float:
    """P(X <= successes) for X binomial with `trials` and a `share` between 0 and 1, exclusive."""
    if successes < 0:
        return 0.0
    if successes >= trials:
        return 1.0
    if successes > trials * share:
        return max(0.0, 1.0 - _tail(successes + 1, trials, share, step=1))
    return min(1.0, _tail(successes, trials, share, step=-1))


def at_least(successes: int, trials: int, share: float) -> float:
    """P(X >= successes) for X binomial with `trials` and a `share` between 0 and 1, exclusive."""
    return at_most(trials - successes, trials, 1 - share)


def highest_share(successes: int, trials: int) -> float:
    """The upper 95% bound of the share behind so many successes: 1 where there were no trials."""
    low, high = 0.0, 1.0
    if successes >= trials:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if at_most(successes, trials, middle) > SIGNIFICANCE else (low, middle)
        )
    return high


def _tail(start: int, trials: int, share: float, step: int) -> float:
    """Sum of the probabilities from `start` away from the mode, until they no longer matter."""
    log_term = (
        math.lgamma(trials + 1)
        - math.lgamma(start + 1)
        - math.lgamma(trials - start + 1)
        + start * math.log(share)
        + (trials - start) * math.log1p(-share)
    )
    term = math.exp(log_term)
    total, count, odds = 0.0, start, share / (1 - share)
    while 0 <= count <= trials:
        total += term
        if step < 0:
            term *= count / ((trials - count + 1) * odds)
        else:
            term *= (trials - count) * odds / (count + 1)
        count += step
        if term <= total * _NEGLIGIBLE:
            break
    return total


def proves(slow: int, sample: int, quantile: float) -> bool:
    """Whether the upper 95% bound of the share of slow ones is at most what the quantile allows."""
    return sample > 0 and at_most(slow, sample, 1 - quantile) <= SIGNIFICANCE


def refutes(slow: int, sample: int, quantile: float) -> bool:
    """Whether the lower 95% bound of the share of slow ones is above what the quantile allows."""
    return sample > 0 and at_least(slow, sample, 1 - quantile) <= SIGNIFICANCE

"""From values to places in a picture, and the round values that are written beside them."""

import math

from msgspec import Struct


class Scale(Struct, frozen=True, kw_only=True):
    """Maps `low`…`high` to `start_px`…`end_px`; `log` spaces decades evenly and needs positive values."""

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False

    def px(self, value: float) -> float:
        """The place of a value, rounded to a tenth; what lies outside stands at the edge."""
        low, high, value = (self._even(v) for v in (self.low, self.high, value))
        part = (value - low) / (high - low) if high > low else 0.5
        part = min(max(part, 0.0), 1.0)
        return round(self.start_px + part * (self.end_px - self.start_px), 1)

    def ticks(self, most: int) -> list[float]:
        """At most `most` round values within the scale: powers of ten on a logarithmic one."""
        if self.log:
            decades = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            every = max(1, math.ceil(len(decades) / most))
            return [10.0**decade for decade in decades][::every]
        step = _round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return [index * step for index in range(first, last + 1)]

    def _even(self, value: float) -> float:
        return math.log10(max(value, 1e-9)) if self.log else value


def decades(low: float, high: float) -> tuple[float, float]:
    """The powers of ten around two positive values; always at least one decade."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return 10.0**first, 10.0 ** max(last, first + 1)


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below `least`."""
    if least <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(least))
    # A quotient that is 2 may come out as 2.0000000000000004, and five steps are not ten.
    return next(
        factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= least * 0.999
    )

"""Quantiles of latencies in bounded memory: DDSketch (Masson, Rim and Lee, VLDB 2019).

Values are counted in buckets whose borders grow by a constant factor, so that a quantile is told within ACCURACY of the
exact one, relative to it, whatever the distribution. Sketches are merged by adding their buckets, without any further error.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable
from itertools import takewhile
from typing import Final, Self

ACCURACY: Final = 0.01
LEAST: Final = 0.001
"""Smaller values are told as this one."""
MOST: Final = 1e7
"""Larger values are told as infinite, which is how what was not served at all is counted."""
_GROWTH: Final = (1 + ACCURACY) / (1 - ACCURACY)
_LOG: Final = math.log(_GROWTH)
_LOWEST: Final = math.ceil(math.log(LEAST) / _LOG)
_HIGHEST: Final = math.ceil(math.log(MOST) / _LOG)
MOST_BUCKETS: Final = _HIGHEST - _LOWEST + 2


class Sketch:
    """How many values there were in each bucket; at most MOST_BUCKETS, about 1,200."""

    __slots__ = ("buckets", "count")

    def __init__(self) -> None:
        self.count = 0
        self.buckets: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Count one value, which is at least 0 and may be infinite."""
        self.count += 1
        self.buckets[_bucket(value)] += 1

    def merge(self, other: "Sketch") -> Self:
        """Count all that `other` has counted, too."""
        self.count += other.count
        self.buckets.update(other.buckets)
        return self

    def quantile(self, q: float) -> float | None:
        """The smallest value that is not below a share of `q` (0 to 1) of all; None where there is none."""
        rank = max(1, math.ceil(q * self.count))
        for bucket in sorted(self.buckets):
            rank -= self.buckets[bucket]
            if rank <= 0:
                return _value(bucket)
        return None


def _bucket(value: float) -> int:
    if value > MOST:
        return _HIGHEST + 1
    return math.ceil(math.log(value) / _LOG) if value > LEAST else _LOWEST


def _value(bucket: int) -> float:
    if bucket > _HIGHEST:
        return math.inf
    return 2 * _GROWTH**bucket / (_GROWTH + 1)


class Recent:
    """A sketch for each second in which there was something, of the last `keep_s` and the present one."""

    def __init__(self, keep_s: int) -> None:
        self._keep_s = keep_s
        self._seconds: deque[tuple[int, Sketch]] = deque()

    def add(self, now_s: float, value: float) -> None:
        """Count `value` in the second of `now_s`, which never goes back."""
        second = math.floor(now_s)
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append((second, Sketch()))
            self._drop(second)
        self._seconds[-1][1].add(value)

    def keep(self, keep_s: int) -> None:
        """Keep this many seconds from now on."""
        self._keep_s = keep_s

    def _drop(self, second: int) -> None:
        while self._seconds[0][0] < second - self._keep_s:
            self._seconds.popleft()

    def over(self, now_s: float, seconds: int) -> Sketch:
        """Everything of the last `seconds` whole ones, and of the present one."""
        first = math.floor(now_s) - seconds
        return merged(
            each for _, each in takewhile(lambda it: it[0] >= first, reversed(self._seconds))
        )

    def clear(self) -> None:
        """Forget everything."""
        self._seconds.clear()


def merged(sketches: Iterable[Sketch]) -> Sketch:
    """One sketch of all that these have counted."""
    found = Sketch()
    for each in sketches:
        found.merge(each)
    return found

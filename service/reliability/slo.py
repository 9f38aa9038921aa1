"""The objective for turns, and when SONIA is in degrade mode: a state machine without I/O, whose time is given to it.

Entered when a short and a long window both breach, each with enough turns to tell, so that neither a spike nor a slow past
alone is enough (Beyer et al., "The Site Reliability Workbook", 2018, ch. 5). Left by what canaries show: turns that SONIA
asks itself, by the whole path, while real ones are spared a part of it and say nothing about that; but not while these breach
even so. Where nothing is asked, nothing breaches and nothing recovers.
"""

import math
from enum import StrEnum
from typing import Final

import msgspec

from service.reliability.sketch import Recent, Sketch
from service.settings import SloSettings

NOT_SERVED: Final = math.inf
"""The time of a turn that was shed, refused, failed or given up."""
RECOVERED: Final = 0.8
"""Below which share of the threshold a canary shows that it is over: what is barely good would breach again."""
LEAST_CANARIES: Final = 3


class Mode(StrEnum):
    """Whether everything is done, or what can be spared is switched off."""

    NORMAL = "normal"
    DEGRADED = "degraded"


class Window(msgspec.Struct, frozen=True):
    """What a window holds; `value_ms` is None without turns, and where the quantile is of those that were not served."""

    seconds: int
    count: int
    value_ms: float | None
    breaching: bool


class Canaries(msgspec.Struct, frozen=True):
    """The canaries since the mode was entered; the last `good` of them, over `good_for_s`, show that it is over."""

    count: int
    good: int
    good_for_s: float


class Objective:
    """The state machine. `now_s` is monotonic and of one clock; times of turns are in milliseconds."""

    def __init__(self, limits: SloSettings, mode: Mode, now_s: float) -> None:
        self.limits = limits
        self._turns = Recent(limits.long_window_s)
        self._begin(mode, now_s)

    def _begin(self, mode: Mode, now_s: float) -> None:
        self.mode = mode
        self._since_s = now_s
        # What was measured under the other mode tells nothing about this one.
        self._turns.clear()
        self._canaries = 0
        self._good = 0
        self._good_from_s = self._good_to_s = now_s

    def take_limits(self, limits: SloSettings) -> None:
        """Judge by other limits from now on, what is in the windows included."""
        self.limits = limits
        self._turns.keep(limits.long_window_s)

    def turn(self, now_s: float, took_ms: float) -> None:
        """A turn ended; NOT_SERVED for one that was not answered."""
        self._turns.add(now_s, took_ms)

    def canary(self, now_s: float, took_ms: float) -> None:
        """A canary ended; NOT_SERVED for one that could not take the whole path."""
        self._canaries += 1
        if took_ms > RECOVERED * self.limits.threshold_ms:
            self._good = 0
            return
        if not self._good:
            self._good_from_s = now_s
        self._good += 1
        self._good_to_s = now_s

    def look(self, now_s: float) -> bool:
        """Change the mode if it is time; say whether it did."""
        if self.mode is Mode.NORMAL:
            short, long = self.windows(now_s)
            if short.breaching and long.breaching:
                self._begin(Mode.DEGRADED, now_s)
                return True
        elif self._recovered(now_s):
            self._begin(Mode.NORMAL, now_s)
            return True
        return False

    def _recovered(self, now_s: float) -> bool:
        canaries = self.canaries()
        return (
            not self._short(now_s).breaching
            and now_s - self._since_s >= self.limits.min_dwell_s
            and canaries.good >= LEAST_CANARIES
            and canaries.good_for_s >= self.limits.sustain_s
        )

    def windows(self, now_s: float) -> tuple[Window, Window]:
        """The short and the long window as they are."""
        limits = self.limits
        long = self._window(now_s, limits.long_window_s, limits.long_min_count)
        return self._short(now_s), long

    def canaries(self) -> Canaries:
        """What the canaries have shown."""
        return Canaries(self._canaries, self._good, self._good_to_s - self._good_from_s)

    def _short(self, now_s: float) -> Window:
        return self._window(now_s, self.limits.short_window_s, self.limits.min_count)

    def _window(self, now_s: float, seconds: int, least: int) -> Window:
        sketch: Sketch = self._turns.over(now_s, seconds)
        value = sketch.quantile(self.limits.quantile)
        breaching = value is not None and value > self.limits.threshold_ms
        told = None if value is None or math.isinf(value) else round(value, 3)
        return Window(seconds, sketch.count, told, breaching and sketch.count >= least)

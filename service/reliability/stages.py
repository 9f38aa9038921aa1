"""How long the stages of turns took, lately."""

import math
from typing import Final

import msgspec

from service.reliability.sketch import Recent
from service.reliability.tracing import Trace

FRESH_S: Final = 0.5
WHOLE: Final = "turn"
"""What the whole of a turn is called among its stages."""


class StageTime(msgspec.Struct, frozen=True):
    """Percentiles of one stage, each within the sketch's accuracy of the exact one."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class StageTimes:
    """A sketch for each stage and second, of the last `keep_s` seconds. A stage that came twice in a turn counts twice."""

    def __init__(self, keep_s: int) -> None:
        self._keep_s = keep_s
        self._stages: dict[str, Recent] = {}
        self._told: dict[str, StageTime] = {}
        self._told_until_s = -math.inf

    def add(self, now_s: float, trace: Trace) -> None:
        """Count the stages of a turn that was answered."""
        for stage in trace.stages:
            self._of(stage.name).add(now_s, stage.took_us / 1000)
        self._of(WHOLE).add(now_s, trace.took_us / 1000)

    def _of(self, name: str) -> Recent:
        if name not in self._stages:
            self._stages[name] = Recent(self._keep_s)
        return self._stages[name]

    def keep(self, keep_s: int) -> None:
        """Keep this many seconds from now on."""
        self._keep_s = keep_s
        for each in self._stages.values():
            each.keep(keep_s)

    def over(self, now_s: float, seconds: int) -> dict[str, StageTime]:
        """The percentiles of each stage that there was in the last `seconds`.

        They are up to FRESH_S old: to find them takes 20 ms where there are many turns, and everybody may ask.
        """
        if now_s >= self._told_until_s:
            self._told = self._find(now_s, seconds)
            self._told_until_s = now_s + FRESH_S
        return self._told

    def _find(self, now_s: float, seconds: int) -> dict[str, StageTime]:
        found = {name: each.over(now_s, seconds) for name, each in self._stages.items()}
        return {
            name: StageTime(sketch.count, *(_told(sketch.quantile(q)) for q in (0.5, 0.95, 0.99)))
            for name, sketch in found.items()
            if sketch.count
        }


def _told(value_ms: float | None) -> float:
    assert value_ms is not None
    return round(value_ms, 6)

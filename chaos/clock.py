"""The clock of one run: milliseconds since a monotonic origin that all processes of the host share."""

import time
from pathlib import Path
from typing import Final

MAX_DRIFT_MS: Final = 50.0


class RunClock:
    """Time of one run. `origin_s` is CLOCK_MONOTONIC at its origin, `epoch_ms` the wall clock there."""

    def __init__(self, origin_s: float | None = None, epoch_ms: float | None = None) -> None:
        self.origin_s = time.monotonic() if origin_s is None else origin_s
        self.epoch_ms = time.time() * 1000 - self.now_ms() if epoch_ms is None else epoch_ms

    def now_ms(self) -> float:
        """Milliseconds since the origin, on the monotonic clock."""
        return self.at_ms(time.monotonic())

    def at_ms(self, monotonic_s: float) -> float:
        """The run's time of a look at CLOCK_MONOTONIC."""
        return (monotonic_s - self.origin_s) * 1000

    def from_wall_ms(self, wall_ms: float) -> float:
        """The run's time of a wall-clock time in milliseconds since the epoch."""
        return wall_ms - self.epoch_ms

    def drift_ms(self) -> float:
        """How far the wall clock has moved against the monotonic one since the origin."""
        return time.time() * 1000 - self.epoch_ms - self.now_ms()


def boot_id() -> str:
    """The kernel's id of this boot: monotonic times of different boots do not compare."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else "unknown"

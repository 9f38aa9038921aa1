"""What is done again and again beside the requests: it survives its errors, says them, and is watched.

An error ends one round and never the timer. Whether rounds end at all, the timer cannot say itself: whoever asks is told
how long ago the last one ended, so that one that hangs, or is gone, shows.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

_LOG: Final = logging.getLogger("sonia.timers")
LATE_ROUNDS: Final = 10
LATE_AT_LEAST_S: Final = 10.0
"""A process that stood still for a moment is not late with what it does often."""


class Timer:
    """Does `work` every `every_s` seconds, and whenever woken, from `start` to `stop`."""

    def __init__(
        self,
        name: str,
        every_s: float,
        work: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.errors = 0
        self._every_s = every_s
        self._work = work
        self._clock = clock
        self._failing = False
        self._ended_s = clock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def late(self) -> bool:
        """Whether no round has ended well for as long as LATE_ROUNDS take, and for LATE_AT_LEAST_S."""
        patience_s = max(LATE_ROUNDS * self._every_s, LATE_AT_LEAST_S)
        return self._clock() - self._ended_s > patience_s

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._ended_s = self._clock()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name=f"timer {self.name}")

    def wake(self) -> None:
        """Make the next round due now; from any thread, and without effect on a timer that does not run."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._due.set)

    async def stop(self) -> None:
        """End in the middle of whatever is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def round(self) -> None:
        """Do the work once; what it raises is counted, and said once until it works again."""
        try:
            await self._work()
        except Exception:  # noqa: BLE001 - whatever it is, the next round comes
            self.errors += 1
            if not self._failing:
                _LOG.exception("%s failed, and is tried again every %s s", self.name, self._every_s)
            self._failing = True
        else:
            if self._failing:
                _LOG.warning("%s works again", self.name)
            self._failing = False
            self._ended_s = self._clock()

    async def _run(self) -> None:
        while True:
            self._due.clear()
            await self.round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._due.wait()


class Timers:
    """All timers of a process."""

    def __init__(self, timers: Sequence[Timer] = ()) -> None:
        self._timers = timers

    @property
    def errors(self) -> int:
        """How many rounds have failed."""
        return sum(each.errors for each in self._timers)

    @property
    def late(self) -> int:
        """How many timers have not done their work for a long time."""
        return sum(each.late for each in self._timers)

    def start(self) -> None:
        """Begin all; needs a running loop."""
        for each in self._timers:
            each.start()

    async def stop(self) -> None:
        """End all."""
        for each in self._timers:
            await each.stop()

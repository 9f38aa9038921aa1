"""Degrade mode in the running gateway: it measures turns, sends canaries, keeps the mode and tells of it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from service.clock import Clock
from service.effects import system_cause
from service.errors import ProblemError, StartRefused, Unavailable
from service.ids import NewId
from service.jsontypes import Json
from service.reliability.modes import KeptMode, record_mode
from service.reliability.slo import NOT_SERVED, Canaries, Mode, Objective, Window
from service.reliability.stages import StageTime, StageTimes
from service.reliability.tracing import Trace
from service.settings import Part, Settings, SloSettings, load_settings
from service.storage import Storage
from service.timers import Timer

LOOK_EVERY_S: Final = 0.25
CANARY_WITHIN: Final = 4.0
"""After how many thresholds a canary is given up."""
TURN: Final = "/v1/turn"
MODE_HEADER: Final = b"x-sonia-mode"
_LOG: Final = logging.getLogger("sonia.slo")


class SloStatus(msgspec.Struct, frozen=True):
    """The mode and what it comes from. `stages` has the turns of the long window that were answered. `settings` is `broken` while `sonia.yaml` cannot be read and what was read before holds."""

    mode: Mode
    since_ms: int
    transitions: int
    switched_off: tuple[Part, ...]
    quantile: float
    threshold_ms: float
    short: Window
    long: Window
    canaries: Canaries
    settings: str
    stages: dict[str, StageTime]


class DegradeMode:
    """`timer` is what makes it look; whoever starts timers starts and watches it.

    `send_canary` asks a turn by the whole path and says whether it took all of it; `on_change` hears each new mode. Both
    are set by whoever can do that.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        path: Path,
        settings: Settings,
        kept: KeptMode,
        new_id: NewId,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._new_id = new_id
        self._monotonic = monotonic
        self._kept = kept
        self._objective = Objective(settings.slo, kept.mode, monotonic())
        self._stages = StageTimes(settings.slo.long_window_s)
        self._file = _File(path, settings)
        self._canary: asyncio.Task[None] | None = None
        self._canary_due_s = 0.0
        self.send_canary: Callable[[str], Awaitable[bool]]
        self.on_change: list[Callable[[Mode], None]] = []
        self.timer = Timer("slo", LOOK_EVERY_S, self.look)

    @property
    def degraded(self) -> bool:
        """Whether degrade mode is in force."""
        return self._objective.mode is Mode.DEGRADED

    @property
    def transitions(self) -> int:
        """How often the mode has changed, ever."""
        return self._kept.transitions

    def off(self, part: Part) -> bool:
        """Whether `part` is switched off now."""
        return self.degraded and part in self._objective.limits.switches_off

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What every answer says of the mode."""
        return ((MODE_HEADER, b"degraded"),) if self.degraded else ()

    def finished(self, trace: Trace) -> None:
        """A request is over: if it was a turn it counts, unless its caller did something wrong.

        What nobody waited for to its end took as long as it was waited for.
        """
        of_turn = "turn" in trace.envelope or trace.status >= 500
        if trace.route != TURN and not (trace.kind == "frame" and of_turn):
            return
        now_s = self._monotonic()
        if trace.status >= 500 or trace.status == 429:
            self._objective.turn(now_s, NOT_SERVED)
        elif trace.status < 400:
            self._objective.turn(now_s, trace.took_us / 1000)
            self._stages.add(now_s, trace)

    def status(self) -> SloStatus:
        """How it stands."""
        objective = self._objective
        limits = objective.limits
        short, long = objective.windows(self._monotonic())
        return SloStatus(
            mode=objective.mode,
            since_ms=self._kept.since_ms,
            transitions=self._kept.transitions,
            switched_off=limits.switches_off if self.degraded else (),
            quantile=limits.quantile,
            threshold_ms=limits.threshold_ms,
            short=short,
            long=long,
            canaries=objective.canaries(),
            settings="broken" if self._file.broken else "current",
            stages=self._stages.over(self._monotonic(), limits.long_window_s),
        )

    async def look(self) -> None:
        """Take up new limits, change the mode if it is time, and send a canary if one is due."""
        if (limits := await self._file.changed()) is not None:
            self._objective.take_limits(limits)
            self._stages.keep(limits.long_window_s)
            cause = system_cause("slo", "slo.limits", self._new_id("slo"))
            self._storage.note(cause, msgspec.to_builtins(limits))
        if self._objective.look(self._monotonic()):
            await self._changed()
        if self.degraded:
            self._send_canary()

    async def stop(self) -> None:
        """Give up the canary that is under way."""
        if self._canary is not None:
            self._canary.cancel()
            await asyncio.gather(self._canary, return_exceptions=True)

    async def _changed(self) -> None:
        # It is in force before it is on disk: a disk that is slow may be what it is about.
        mode = self._objective.mode
        self._kept = KeptMode(mode, self._clock.now_ms(), self._kept.transitions + 1)
        _LOG.warning("turns are in %s mode", mode)
        request_id = self._new_id("slo")
        cause = system_cause("slo", "slo.enter" if self.degraded else "slo.leave", request_id)
        run = partial(record_mode, kept=self._kept, request_id=request_id, why=self._why())
        for each in self.on_change:
            each(mode)
        try:
            await self._storage.change(cause, run)
        except Unavailable:
            self._storage.change_later(cause, run)

    def _why(self) -> dict[str, Json]:
        limits = self._objective.limits
        off = [each.value for each in limits.switches_off]
        return {"threshold_ms": limits.threshold_ms, "quantile": limits.quantile, "parts": [*off]}

    def _send_canary(self) -> None:
        now_s = self._monotonic()
        if now_s < self._canary_due_s or (self._canary is not None and not self._canary.done()):
            return
        self._canary_due_s = now_s + self._objective.limits.canary_every_s
        self._canary = asyncio.create_task(self._ask(), name="canary")

    async def _ask(self) -> None:
        began_s = self._monotonic()
        whole = False
        try:
            async with asyncio.timeout(CANARY_WITHIN * self._objective.limits.threshold_ms / 1000):
                whole = await self.send_canary(self._new_id("canary"))
        except (TimeoutError, ProblemError):
            whole = False
        finally:
            now_s = self._monotonic()
            self._objective.canary(now_s, (now_s - began_s) * 1000 if whole else NOT_SERVED)


class _File:
    """The settings' file, read again when it is another one: its time, size or number has changed."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        self._settings = settings
        # Not as it is now: it may be another one already than was read.
        self._seen: tuple[int, int, int] | None = None
        self.broken = False

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    async def changed(self) -> SloSettings | None:
        """New limits, if there are some; whatever cannot be read as a whole leaves the old ones, and is said once."""
        seen = self._look()
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            settings = await asyncio.to_thread(load_settings, self._path)
        except StartRefused as refused:
            self.broken = True
            _LOG.error("%s; until then the limits of turns stay as they were", refused)
            return None
        self.broken = False
        before, self._settings = self._settings, settings
        if msgspec.structs.replace(settings, slo=before.slo) != before:
            _LOG.warning("of what has changed in %s, slo is in force", self._path.name)
        return settings.slo if settings.slo != before.slo else None

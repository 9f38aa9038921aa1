"""One process under supervision: spawned when it may be, watched, ended, and again."""

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Final, Protocol, TypeVar

import apsw
import msgspec

from service.effects import Cause, Effect, system_cause
from service.errors import Conflict, Unavailable
from service.ids import NewId
from service.parent import GRACE_S
from service.processes import Process
from service.settings import SupervisorSettings
from service.supervisor import budget as budgets
from service.supervisor.budget import Budget, Limits
from service.supervisor.health import MISSES, Answered
from service.supervisor.records import (
    Attempt,
    record_attempt,
    record_budget,
    record_maintenance,
)
from service.supervisor.status import ServiceState, ServiceStatus

T = TypeVar("T")
RETRY_S: Final = 0.5
_STARTING_POLL_S: Final = 0.1
_VACANT_WITHIN_S: Final = GRACE_S + 5.0
_LOG: Final = logging.getLogger("sonia.supervisor")


class Why(StrEnum):
    """Why a process is spawned again."""

    EXIT = "exit"
    HANG = "hang"
    OPERATOR = "operator"
    MAINTENANCE = "maintenance"  # it ended while it was left alone
    UNCLEAN_END = "unclean_end"  # of the gateway before this one
    EARLIER = "earlier"  # it was given up in an earlier boot


class Life(Protocol):
    """One life of a process, as child.Child has it."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def exit(self) -> int | None:
        """What it ended with; None while it lives."""
        ...

    async def end(self, grace_s: float) -> None:
        """End it and all that came of it."""
        ...


class Book(Protocol):
    """Where changes are written down, as Storage has it."""

    async def change(self, cause: Cause, run: Callable[[apsw.Connection], Effect[T]]) -> T:
        """Apply a change and its audit row. Raises Unavailable."""
        ...


class Asks(Protocol):
    """Who asks a process whether it is there, as health.Health has it."""

    async def ask(self, path: str) -> Answered:
        """Ask once."""
        ...

    async def close(self) -> None:
        """Ask no more."""
        ...


class Means(msgspec.Struct, frozen=True):
    """What every process is supervised with. `spawn` starts one, and tells when it has ended; it raises OSError."""

    storage: Book
    settings: SupervisorSettings
    now_ms: Callable[[], int]
    new_id: NewId
    boot_id: str
    spawn: Callable[[Process, Callable[[], None]], Life]
    health: Callable[[Process, float], Asks]
    is_vacant: Callable[[Process], bool]

    @property
    def limits(self) -> Limits:
        """The bounds of budgets, in milliseconds."""
        it = self.settings
        return Limits(it.attempts, int(it.window_s * 1000), int(it.backoff_base_s * 1000))


class Watch(msgspec.Struct):
    """How one life has answered so far."""

    ready_by_s: float
    misses: int = 0


class Supervised:
    """One process. Everything but `status` belongs to the supervisor's event loop."""

    def __init__(self, process: Process, means: Means, budget: Budget, maintenance: bool) -> None:
        self.name = process.name
        self._process = process
        self._means = means
        self._limits = means.limits
        self._budget = budget
        self._maintenance = maintenance
        self._life: Life | None = None
        self._ready = False
        self._granted = False
        self._deciding = asyncio.Lock()
        self._changed = asyncio.Event()
        self.settled = asyncio.Event()
        """Set once others need not wait for it any longer: it is ready, or has failed."""

    # What others see and ask for

    def status(self) -> ServiceStatus:
        """How it stands; from any thread."""
        life, budget = self._life, self._budget
        now_ms = self._means.now_ms()
        return ServiceStatus(
            self.name,
            self._state(life),
            None if life is None else life.pid,
            len(budgets.counted(budget, self._limits, now_ms)),
            budget.backoff_until_ms,
            budget.exhausted,
        )

    def _state(self, life: Life | None) -> ServiceState:
        if self._maintenance:
            return ServiceState.MAINTENANCE
        if life is not None or self._granted:
            ready = self._ready and not self._granted
            return ServiceState.READY if ready else ServiceState.STARTING
        if self._budget.exhausted:
            return ServiceState.UNREACHABLE
        waiting = self._due_ms() > self._means.now_ms()
        return ServiceState.BACKING_OFF if waiting else ServiceState.STARTING

    async def restart(self, cause: Cause) -> ServiceStatus:
        """Write an attempt down and have it made now, back-off or not. Raises Conflict and Unavailable."""
        async with self._deciding:
            self._refuse_in_maintenance()
            if self._granted:
                raise Conflict(f"{self.name} is being restarted", "restarting")
            if budgets.is_spent(self._budget, self._limits, self._means.now_ms()):
                raise Conflict(
                    f"{self.name} has used up its restarts; a reset gives it new ones", "exhausted"
                )
            await self._write_attempt(cause, Why.OPERATOR)
            self._granted = True
        self._changed.set()
        return self.status()

    async def reset(self, cause: Cause) -> ServiceStatus:
        """Forget what was attempted, and what it waits for. Raises Unavailable."""
        async with self._deciding:
            await self._write_budget(cause, Budget(self.name), {})
        self._changed.set()
        return self.status()

    async def maintain(self, enabled: bool, cause: Cause) -> ServiceStatus:
        """Leave it alone, as it is, or no longer. Raises Unavailable."""
        async with self._deciding:
            run = partial(
                record_maintenance,
                name=self.name,
                enabled=enabled,
                now_ms=self._means.now_ms(),
                request_id=cause.request_id,
            )
            self._maintenance = await self._means.storage.change(cause, run)
        self._changed.set()
        return self.status()

    def _refuse_in_maintenance(self) -> None:
        if self._maintenance:
            raise Conflict(f"{self.name} is in maintenance", "maintenance")

    # Its lives

    async def live(self, why: Why | None) -> None:
        """Keep it running. `why` its first spawn is a restart; None where it is none."""
        while True:
            await self._permit(why)
            why = await self._one_life()

    async def end(self) -> None:
        """End what lives of it; `live` must not be running any more."""
        if self._life is not None:
            await self._life.end(self._means.settings.stop_within_s)

    async def _permit(self, why: Why | None) -> None:
        """Return when it may be spawned, and that it is a restart is written down."""
        while not self._granted:
            # What is no restart waits for what is left of a back-off, but needs no attempt of its own.
            due_ms = self._budget.backoff_until_ms if why is None else self._due_ms()
            wait_s = (due_ms - self._means.now_ms()) / 1000
            if self._maintenance:
                await self._wait(None)
            elif why is not None and not self._budget.exhausted and self._is_spent():
                await self._fail(why, None)
            elif wait_s > 0:
                await self._wait(wait_s)
            elif why is None or await self._attempt(why):
                return
        self._granted = False

    async def _one_life(self) -> Why:
        """Spawn it and see to it until it is over, and gone; returns why it needs another."""
        self._ready = False
        await self._vacancy()
        self._changed.clear()
        try:
            life = self._life = self._means.spawn(self._process, self._changed.set)
        except OSError as failed:
            _LOG.error("%s could not be spawned: %s", self.name, failed)
            await self._fail(Why.EXIT, None)
            return Why.EXIT
        why = await self._attend(life)
        exit_code = life.exit
        # What hangs does not heed a request to end.
        await life.end(self._means.settings.stop_within_s if why is Why.OPERATOR else 0)
        self._ready = False
        self._life = None
        if why in (Why.EXIT, Why.HANG):
            await self._fail(why, exit_code)
        return why

    async def _vacancy(self) -> None:
        """Wait for whoever still has its port, as long as a child may take to end without its gateway."""
        for _ in range(int(_VACANT_WITHIN_S / _STARTING_POLL_S)):
            if self._means.is_vacant(self._process):
                return
            await asyncio.sleep(_STARTING_POLL_S)
        _LOG.error("somebody else has the port of %s", self.name)

    async def _attend(self, life: Life) -> Why:
        """Watch a life until it has ended, hangs, or is to be replaced."""
        slot_s = self._means.settings.hang_after_s / MISSES
        watch = self._watch()
        health = self._means.health(self._process, slot_s)
        try:
            while (why := self._over(life)) is None:
                if self._maintenance:
                    await self._wait(None)
                    watch = self._watch()
                elif await self._is_hanging(health, watch, slot_s):
                    _LOG.error("%s does not answer and is replaced", self.name)
                    return Why.HANG
            return why
        finally:
            await health.close()

    def _watch(self) -> Watch:
        return Watch(asyncio.get_running_loop().time() + self._means.settings.start_within_s)

    def _over(self, life: Life) -> Why | None:
        """Why a life has ended, or is to end now."""
        if life.exit is not None:
            return Why.MAINTENANCE if self._maintenance else Why.EXIT
        return Why.OPERATOR if self._granted else None

    async def _is_hanging(self, health: Asks, watch: Watch, slot_s: float) -> bool:
        """Ask once, and wait until it is time to ask again; True when no answer is waited for any longer."""
        clock = asyncio.get_running_loop().time
        began_s = clock()
        answered = await health.ask("/healthz" if self._ready else "/readyz")
        if answered is Answered.YES:
            watch.misses = 0
            self._note_ready()
            await self._wait(self._means.settings.probe_every_s)
            return False
        if not self._ready:
            await self._wait(_STARTING_POLL_S)
            return clock() > watch.ready_by_s
        watch.misses = watch.misses + 1 if answered is Answered.NO else 0
        await self._wait(max(0.0, slot_s - (clock() - began_s)))
        return watch.misses >= MISSES

    def _note_ready(self) -> None:
        if not self._ready:
            _LOG.info("%s is ready", self.name)
        self._ready = True
        self.settled.set()

    # Its budget

    def _due_ms(self) -> int:
        return budgets.due_ms(self._budget, self._limits)

    def _is_spent(self) -> bool:
        return budgets.is_spent(self._budget, self._limits, self._means.now_ms())

    async def _attempt(self, why: Why) -> bool:
        """Write down that it is restarted now; False where that cannot be, or need not be any more."""
        async with self._deciding:
            if self._granted or self._maintenance or self._due_ms() > self._means.now_ms():
                return False
            try:
                await self._write_attempt(self._system("supervisor.restart"), why)
            except Unavailable as refused:
                _LOG.error(
                    "%s is not restarted before that is written down: %s", self.name, refused
                )
            else:
                return True
        await self._wait(RETRY_S)
        return False

    async def _fail(self, why: Why, exit_code: int | None) -> None:
        """Write down a failure, however long that takes."""
        self.settled.set()
        failed_ms = self._means.now_ms()
        detail = {"cause": str(why), "exit_code": exit_code}
        while True:
            async with self._deciding:
                left = budgets.after_failure(self._budget, self._limits, failed_ms)
                action = "supervisor.exhausted" if left.exhausted else "supervisor.failed"
                try:
                    await self._write_budget(self._system(action), left, detail)
                except Unavailable as refused:
                    _LOG.error("a failure of %s is not written down: %s", self.name, refused)
                else:
                    break
            await asyncio.sleep(RETRY_S)
        if self._budget.exhausted:
            _LOG.error("%s is unreachable: it has used up its restarts", self.name)
        else:
            _LOG.error("%s has failed (%s)", self.name, why)

    async def _write_attempt(self, cause: Cause, why: Why) -> None:
        now_ms = self._means.now_ms()
        left = budgets.after_attempt(self._budget, self._limits, now_ms)
        attempt_id = self._means.new_id("restart")
        attempt = Attempt(attempt_id, why, self._means.boot_id, cause.request_id)
        await self._write(
            cause, left, partial(record_attempt, budget=left, attempt=attempt, now_ms=now_ms)
        )

    async def _write_budget(
        self, cause: Cause, left: Budget, why: dict[str, str | int | None]
    ) -> None:
        now_ms = self._means.now_ms()
        await self._write(cause, left, partial(record_budget, budget=left, now_ms=now_ms, why=why))

    async def _write(
        self, cause: Cause, left: Budget, run: Callable[[apsw.Connection], Effect[None]]
    ) -> None:
        """Write down what is left of the budget; it counts once that is durable."""
        await self._means.storage.change(cause, run)
        self._budget = left

    def _system(self, action: str) -> Cause:
        return system_cause("supervisor", action, self._means.new_id("sup"), self.name)

    async def _wait(self, at_most_s: float | None) -> None:
        """Wait for something to change."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

"""Delivering the outbox: of each aggregate one row at a time, the oldest first; several aggregates side by side.

A row is sent until an answer comes. The mark that it was delivered follows the effect, so a crash, a lost answer or a
disk that is full between the two sends it again: the receiver knows its key, and has it once. While the receiver is
away nothing is sent: the probes of its breaker find out when it is back.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import apsw
import msgspec

from service.clock import Clock
from service.dependencies import MemoryRefused, MemoryUnavailable
from service.effects import Effect, Origin, system_cause
from service.errors import Unavailable
from service.messages.memory import StoreMemory
from service.outbox import records
from service.outbox.records import NewOwed, Owed, Status
from service.settings import OutboxSettings
from service.storage import Storage
from service.timers import Timer

_LOG: Final = logging.getLogger("sonia.outbox")
LOOK_EVERY_S: Final = 5.0
SIDE_BY_SIDE: Final = 8
AT_A_TIME: Final = 64
FIRST_PAUSE_S: Final = 0.05


class Receiver(Protocol):
    """Where rows go. `store` raises MemoryUnavailable or MemoryRefused."""

    async def wait_until_up(self) -> None:
        """Wait until it can be asked."""

    async def store(self, asked: StoreMemory, *, request_id: str) -> None:
        """Have the effect once, however often it is asked for under the same id."""


class Outbox:
    """Takes what is owed and delivers it, from when its timer starts until `stop`.

    Whoever writes a row wakes it once that is durable; what an earlier process has left it finds when it looks first.
    `jitter` gives a number in [0, 1), by which aggregates that failed together are not tried again together.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        receiver: Receiver,
        settings: OutboxSettings,
        jitter: Callable[[], float],
    ) -> None:
        self.pending = storage.read(partial(records.count, status=Status.PENDING))
        self.timer = Timer("outbox", LOOK_EVERY_S, self._look)
        self._storage = storage
        self._clock = clock
        self._receiver = receiver
        self._settings = settings
        self._jitter = jitter
        self._working: dict[str, asyncio.Task[None]] = {}
        self._last = ""
        self._error: BaseException | None = None

    def owe(self, connection: apsw.Connection, new: NewOwed, origin: Origin) -> Effect[None]:
        """Owe an effect, in the transaction of what causes it."""
        effect = records.enqueue(connection, new, origin)
        return msgspec.structs.replace(effect, after_commit=partial(self._changed, 1))

    async def stop(self) -> None:
        """End in the middle of whatever is delivered; it stays owed."""
        working = list(self._working.values())
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    def _changed(self, by: int) -> None:
        """Count what is owed, in the writer's thread; what is new is looked at."""
        self.pending += by
        if by > 0:
            self.timer.wake()

    async def _look(self) -> None:
        """Give each aggregate with something to deliver a task of its own, as many as there is room for, in turn.

        Raises what has ended such a task, so that it is counted and said; the aggregate's turn comes again.
        """
        after, turned = self._last, False
        while len(self._working) < SIDE_BY_SIDE:
            found = self._storage.read(partial(records.next_aggregate, after=after))
            if found is None and turned:
                break
            turned = turned or found is None
            after = found or ""
            if found is not None and found not in self._working:
                self._last = found
                task = asyncio.create_task(self._deliver_some(found), name=f"outbox {found}")
                self._working[found] = task
                task.add_done_callback(partial(self._ended, found))
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _ended(self, aggregate: str, task: asyncio.Task[None]) -> None:
        del self._working[aggregate]
        if task.cancelled():
            return
        self._error = task.exception() or self._error
        if task.exception() is None:
            # There is room again, and something may have come since its last look.
            self.timer.wake()

    async def _deliver_some(self, aggregate: str) -> None:
        """Deliver rows of one aggregate, in order, until there are none or others shall have their turn."""
        for _ in range(AT_A_TIME):
            row = self._storage.read(partial(records.head, aggregate=aggregate))
            if row is None:
                return
            pause_s = FIRST_PAUSE_S
            while not await self._deliver(row):
                await asyncio.sleep(pause_s * (0.5 + 0.5 * self._jitter()))
                pause_s = min(2 * pause_s, self._settings.max_pause_s)

    async def _deliver(self, row: Owed) -> bool:
        """Have a row's effect, and write that down; False when it has to be tried again."""
        await self._receiver.wait_until_up()
        asked = msgspec.json.decode(row.payload, type=StoreMemory)
        try:
            await self._receiver.store(
                msgspec.structs.replace(asked, seq=row.seq), request_id=row.request_id
            )
            settle = partial(records.settle, row=row, status=Status.DELIVERED)
        except MemoryUnavailable as error:
            _LOG.info("%s is not delivered yet: %s", row.effect_key, error.reason)
            return False
        except MemoryRefused as error:
            _LOG.error("%s cannot be delivered: %s", row.effect_key, error.reason)
            settle = partial(
                records.settle, row=row, status=Status.NEEDS_OPERATOR, reason=error.reason
            )
        try:
            await self._storage.change(
                system_cause("outbox", f"{row.kind}.end", row.request_id, row.effect_key),
                lambda connection: msgspec.structs.replace(
                    settle(connection, now_ms=self._clock.now_ms()),
                    after_commit=partial(self._changed, -1),
                ),
            )
        except (Unavailable, apsw.Error) as error:
            _LOG.info(
                "%s is delivered, which cannot be written down yet: %s", row.effect_key, error
            )
            return False
        return True

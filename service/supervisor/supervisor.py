"""The supervisor: a thread that lives as long as the gateway, with an event loop of its own, in which every process behind
the gateway is a task."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import apsw

from service.clock import Clock
from service.effects import Cause
from service.errors import StartRefused, Unavailable
from service.ids import NewId
from service.keys import Link
from service.processes import BEHIND, Process, start_order
from service.settings import SupervisorSettings
from service.state import StateDir
from service.storage import Storage
from service.supervisor.budget import Budget, as_of
from service.supervisor.child import Nursery, run_command
from service.supervisor.handover import Handover
from service.supervisor.health import Health
from service.supervisor.records import begin_boot, end_boot, restore_budgets, restore_maintenance
from service.supervisor.status import ServiceStatus, unknown
from service.supervisor.supervised import Means, Supervised, Why

_LOG: Final = logging.getLogger("sonia.supervisor")


class Supervisor:
    """Starts the other processes on entering and ends them, the last one first, on leaving."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        settings: SupervisorSettings,
        state: StateDir,
        environ: Mapping[str, str],
        links: Mapping[str, Link],
        new_id: NewId,
        fatal: Callable[[str], None],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._fatal = fatal
        self._handover = Handover(links, environ)
        self._nursery = Nursery(partial(run_command, state), self._handover.hand)
        self._boot_id = new_id("boot")
        self._means = Means(
            storage,
            settings,
            clock.now_ms,
            new_id,
            self._boot_id,
            self._nursery.spawn,
            lambda process, within_s: Health(process.own_url(environ), within_s),
            self._handover.is_vacant,
        )
        self._supervised = self._restored()
        self._loop = asyncio.SelectorEventLoop()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._live, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        begin = partial(begin_boot, boot_id=self._boot_id, now_ms=self._clock.now_ms())
        try:
            self._clean = self._storage.do_now(begin)
        except Unavailable as refused:
            raise StartRefused(
                f"no boot can be written down: {refused}", "start again"
            ) from refused
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        self._loop.close()
        self._handover.close()
        end = partial(end_boot, boot_id=self._boot_id, now_ms=self._clock.now_ms())
        try:
            self._storage.do_now(end)
        except Unavailable as refused:
            _LOG.error("this end is not written down, and will be taken for a crash: %s", refused)

    def statuses(self) -> list[ServiceStatus]:
        """Tell of every process, as it stands."""
        return [each.status() for each in self._supervised.values()]

    async def restart(self, name: str, cause: Cause) -> ServiceStatus:
        """Write down an attempt, then end the process and spawn it again."""
        return await self._ask(self._known(name).restart(cause))

    async def reset(self, name: str, cause: Cause) -> ServiceStatus:
        """Give a process all of its budget anew."""
        return await self._ask(self._known(name).reset(cause))

    async def maintain(self, name: str, enabled: bool, cause: Cause) -> ServiceStatus:
        """Leave a process alone from now on, or no longer."""
        return await self._ask(self._known(name).maintain(enabled, cause))

    async def beat(self) -> None:
        """Return when this loop has come by, in which all processes are seen to."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop))

    def _known(self, name: str) -> Supervised:
        if name not in self._supervised:
            raise unknown(name)
        return self._supervised[name]

    async def _ask(self, asked: Coroutine[Any, Any, ServiceStatus]) -> ServiceStatus:
        # Whoever asked may go away; what was begun is carried through all the same.
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        return await asyncio.shield(asyncio.wrap_future(future))

    def _restored(self) -> dict[str, Supervised]:
        budgets, left_alone = self._storage.read(_restore)
        known = {
            each.name: as_of(each, self._means.limits, self._clock.now_ms()) for each in budgets
        }
        return {
            each.name: Supervised(
                each, self._means, known.get(each.name, Budget(each.name)), each.name in left_alone
            )
            for each in BEHIND
        }

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._supervise())
        except Exception as error:  # noqa: BLE001 - nobody would replace what ends from now on
            self._fatal(f"the supervisor failed: {error!r}")

    async def _supervise(self) -> None:
        self._nursery.adopt()
        async with asyncio.TaskGroup() as tasks:
            lives = [
                tasks.create_task(self._in_order(each), name=f"supervise {each.name}")
                for each in BEHIND
            ]
            await self._ending.wait()
            for each in lives:
                each.cancel()
        ends: dict[str, asyncio.Task[None]] = {}
        for name in reversed(start_order(BEHIND)):
            users = [ends[each.name] for each in BEHIND if name in each.depends_on]
            ends[name] = asyncio.create_task(self._end(name, users))
        await asyncio.gather(*ends.values())

    async def _in_order(self, process: Process) -> None:
        """Begin with a process when those are ready, or have failed, that it depends on."""
        for name in process.depends_on:
            if name in self._supervised:
                await self._supervised[name].settled.wait()
        supervised = self._supervised[process.name]
        await supervised.live(self._why(supervised))

    async def _end(self, name: str, users: list["asyncio.Task[None]"]) -> None:
        """End a process once those have ended that depend on it."""
        await asyncio.gather(*users)
        await self._supervised[name].end()

    def _why(self, supervised: Supervised) -> Why | None:
        if not self._clean:
            return Why.UNCLEAN_END
        return Why.EARLIER if supervised.status().exhausted else None


def _restore(connection: apsw.Connection) -> tuple[list[Budget], frozenset[str]]:
    return restore_budgets(connection), restore_maintenance(connection)

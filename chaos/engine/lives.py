"""All lives of the processes of a started target: who is of them, and how they end."""

import asyncio
import signal
import time
from collections.abc import Mapping
from functools import partial
from typing import Final

from chaos.engine import ending
from chaos.engine.life import Life
from chaos.engine.procfs import Listener
from chaos.engine.ready import described, holding, still_listening, strangers
from chaos.errors import HarnessError
from chaos.guard import Guard, send_signal
from chaos.spec.target import ProcessSpec
from chaos.trees import Seen, Table, table

HOST: Final = "127.0.0.1"
REFUSES_WITHIN_S: Final = 2.0
"""How long a port may go on to listen after everybody who held it has ended: the kernel closes it a moment later."""

ENDING: Final = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT})
"""Signals whose end is waited for."""


class Lives:
    """Every life of every process, each with all that came of it. `ports` are those of the processes."""

    def __init__(
        self, guard: Guard, processes: Mapping[str, ProcessSpec], ports: Mapping[str, int]
    ) -> None:
        self.latest: dict[str, Life] = {}
        self._earlier: list[Life] = []
        self._guard = guard
        self._processes = processes
        self._ports = ports

    def add(self, life: Life) -> None:
        """Another life of a process; something of the earlier one may be left."""
        if life.name in self.latest:
            self._earlier.append(self.latest[life.name])
        self.latest[life.name] = life

    def names(self) -> dict[int, str]:
        """The processes that are known to be of some life, with its name."""
        lives = [*self._earlier, *self.latest.values()]
        parents_first = sorted(lives, key=lambda life: bool(self._processes[life.name].child_of))
        return {pid: life.name for life in parents_first for pid in life.tree.known}

    def members(self, life: Life, found: Table | None = None) -> dict[int, Seen]:
        """All of a life that has not ended: the process that was started and what came of it, whatever became of that one.

        It ends where another process of the target begins.
        """
        if life.tree.is_over:
            return {}
        found = table() if found is None else found
        self._guard.reap()
        orphans = self._guard.orphans(found, life.tree.since)
        # Who was started by another process writes to the output of that.
        log = life.log if self._processes[life.name].child_of is None else None
        strays = holding(orphans, self._ports[life.name], log) if orphans else []
        members = life.tree.members(found, strays)
        self._guard.tell(members)
        inside = [self.latest.get(name) for name in children_of(life.name, self._processes)]
        theirs = {pid for one in inside if one for pid in one.tree.members(found)}
        return {pid: one for pid, one in members.items() if pid not in theirs}

    def send(self, life: Life, number: int, *, alone: bool) -> bool:
        """Send a signal to all of a life, or to the process alone that was started; False when nobody was there."""
        life.signals.add(number)
        if not alone:
            return ending.send(partial(self.members, life), life.process.pid, number)
        try:
            send_signal(life.process, number)
        except ProcessLookupError:
            return False
        return True

    async def await_end(self, life: Life, number: int, *, alone: bool) -> None:
        """Wait for the end of what was sent a signal. HarnessError when something has not ended in time."""
        within = self._processes[life.name].stop_within
        if alone:
            left = await ending.left_alone(life, within.s)
        elif number == signal.SIGKILL:
            left = await self.kill(life)
        else:
            left = await ending.left(life, partial(self.members, life), within.s)
        # One that was killed and exits with a code had ended by itself before.
        if life.was_signalled or (number != signal.SIGKILL and not life.alive):
            life.ended_by = "kill"
        if left:
            raise HarnessError(
                f"{life.name} did not end within {within} after signal {number}: {ending.named(left)}"
            )

    async def await_refusal(self, life: Life) -> None:
        """A kill is proven when the port refuses, or when a later life answers on it; HarnessError otherwise."""
        port = self._ports[life.name]
        ends_s = time.monotonic() + REFUSES_WITHIN_S
        while others := strangers(self._later(life), HOST, port):
            if time.monotonic() > ends_s:
                raise HarnessError(
                    f"that {life.name} has ended is not proven: {described(others)} still listens on {HOST}:{port}"
                )
            await asyncio.sleep(ending.LOOK_EVERY_S)

    async def kill(self, life: Life) -> list[int]:
        """SIGKILL to all of a life until nothing is left; returns what could not be killed."""
        return await ending.kill(life, partial(self.members, life))

    async def end_all(self) -> list[tuple[str, Listener, int]]:
        """SIGTERM to all lives, SIGKILL to what is left later; returns what listens on their ports all the same."""
        found = table()
        lives = [life for life in (*self.latest.values(), *self._earlier) if not life.tree.is_over]
        for life in lives:
            if life.alive:
                life.ended_by = "teardown"
            ending.send(partial(self.members, life, found), life.process.pid, signal.SIGTERM)
        await asyncio.gather(*map(self._end, lives))
        return still_listening(self._ports)

    async def _end(self, life: Life) -> None:
        within = self._processes[life.name].stop_within
        if await ending.left(life, partial(self.members, life), within.s):
            await self.kill(life)

    def _later(self, life: Life) -> list[int]:
        latest = self.latest[life.name]
        return [] if latest is life else list(self.members(latest))


def children_of(name: str, processes: Mapping[str, ProcessSpec]) -> list[str]:
    """The processes of a target that another one starts."""
    return [child for child, spec in processes.items() if spec.child_of == name]

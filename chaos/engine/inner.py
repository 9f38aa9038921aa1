"""Processes of the target that another process of it starts, ends and replaces: they are seen, not started (rule 23a)."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Final

from chaos.clock import RunClock
from chaos.engine.life import Life
from chaos.engine.lives import HOST, Lives
from chaos.engine.procfs import answering, socket_inodes
from chaos.engine.ready import unready
from chaos.spec.target import ProcessSpec
from chaos.trees import Branch, Table, now_ticks, seen, table

LOOK_EVERY_S: Final = 0.05
ENDED_EVERY_S: Final = 0.01


class SeenProcess:
    """A process that somebody else started: nobody tells how it ended, only that it has."""

    def __init__(self, pid: int, started: int) -> None:
        self.pid = pid
        self._started = started
        self._over = False

    @property
    def returncode(self) -> int | None:
        """None while it lives; what it ended with is its parent's to know."""
        process = None if self._over else seen(self.pid)
        self._over = process is None or process.started != self._started
        return 0 if self._over else None

    async def wait(self) -> int:
        """Wait for its end."""
        while (code := self.returncode) is None:  # noqa: ASYNC110 - the kernel tells only its parent
            await asyncio.sleep(ENDED_EVERY_S)
        return code


class InnerLife(Life):
    """A life that was seen to begin: its exit code is not known, and a signal that was sent is taken for its end."""

    @property
    def exit(self) -> int | None:
        """Nobody knows."""
        return None

    @property
    def was_signalled(self) -> bool:
        """Whether it ended after a signal of the gate's."""
        return not self.alive and bool(self.signals)


class Inner:
    """Finds every life of the processes that others start: who of their parent's tree listens on their port."""

    def __init__(
        self,
        lives: Lives,
        processes: Mapping[str, ProcessSpec],
        ports: Mapping[str, int],
        record: Callable[[Life], None],
        clock: Callable[[], RunClock],
    ) -> None:
        self._lives = lives
        self._processes = processes
        self._names = [name for name, spec in processes.items() if spec.child_of is not None]
        self._ports = ports
        self._record = record
        self._clock = clock
        self._watching: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Look for them from now on."""
        self._watching += [asyncio.create_task(self._watch(name)) for name in self._names]

    async def end(self) -> None:
        """Look once more, and then no more: what answers by now was ready, however soon the end came."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        self._watching.clear()
        for name in self._names:
            life = self._life(name)
            if life is not None and life.ready_ms is None:
                await self._is_ready(name, life)

    def look(self) -> None:
        """See who is there now: a step may come sooner than the next look."""
        for name in self._names:
            self._life(name)

    async def _watch(self, name: str) -> None:
        while True:
            life = self._life(name)
            if life is None:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            while life.alive and not await self._is_ready(name, life):  # noqa: ASYNC110 - asked, not told
                await asyncio.sleep(LOOK_EVERY_S)
            await life.process.wait()

    async def _is_ready(self, name: str, life: Life) -> bool:
        """Ask it, and write down when it was ready for the first time."""
        if await unready(self._processes[name].ready, HOST, self._ports[name]) is not None:
            return False
        life.ready_ms = self._clock().now_ms() if life.alive else None
        return True

    def _life(self, name: str) -> Life | None:
        """The life that goes on; a new one is known from now on."""
        earlier = self._lives.latest.get(name)
        if earlier is not None and earlier.alive:
            return earlier
        life = self._found(name)
        if life is not None:
            if earlier is not None:
                self._record(earlier)
            self._lives.add(life)
        return life

    def _found(self, name: str) -> Life | None:
        """The life that answers on a port now."""
        spec = self._processes[name]
        parent = self._lives.latest.get(spec.child_of or "")
        sockets = answering(HOST, self._ports[name]) if parent is not None else []
        if parent is None or not sockets:
            return None
        found = table()
        pid = self._first(parent, found, {one.inode for one in sockets})
        if pid is None:
            return None
        begun = found[pid]
        since_ms = (now_ticks() - begun.started) * 1000 / os.sysconf("SC_CLK_TCK")
        life = InnerLife(
            name,
            SeenProcess(pid, begun.started),
            Branch(pid, begun.started),
            self._clock().now_ms() - since_ms,
            parent.log,
            [],
            {},
        )
        life.parent = begun.parent
        return life

    def _first(self, parent: Life, found: Table, inodes: set[str]) -> int | None:
        """Who of a tree holds one of these sockets and was started by nobody that does, the oldest of them."""
        members = parent.tree.members(found)
        holding = {
            pid for pid in members if pid != parent.process.pid and socket_inodes(pid) & inodes
        }
        tops = [pid for pid in holding if members[pid].parent not in holding]
        return min(tops, key=lambda pid: (members[pid].started, pid), default=None)

"""Signals to a whole tree of processes, and waiting until nothing of it is left."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from chaos.engine.life import Life
from chaos.engine.procfs import command_of
from chaos.guard import Guard
from chaos.trees import Seen, family, marked, table

Look = Callable[[], Mapping[int, Seen]]
"""Tells all of a tree that has not ended."""

LOOK_EVERY_S: Final = 0.005
_KILL_AGAIN_S: Final = 0.05
_KILLED_WITHIN_S: Final = 10.0
_SWEEPS: Final = 2000
_TO_EVERYBODY: Final = frozenset({signal.SIGKILL, signal.SIGSTOP})
"""Who is born while these are sent must get them, too; what is born of the others may be there to tidy up."""


def send(look: Look, first: int, number: int) -> bool:
    """Send a signal to all of a tree, to `first` before the others; False when there was nobody."""
    reached: set[tuple[int, int]] = set()
    while True:
        news = [(pid, one.started) for pid, one in look().items()]
        news = [one for one in news if one not in reached]
        for pid, started in sorted(news, key=lambda one: one[0] != first):
            reached.add((pid, started))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if not news or number not in _TO_EVERYBODY:
            return bool(reached)


async def left(life: Life, look: Look, within_s: float) -> list[int]:
    """Who of a tree has not ended within that time; nobody as soon as that is so."""
    ends_s = time.monotonic() + within_s
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(life.process.wait(), within_s)
    while there := list(look()):
        if time.monotonic() > ends_s:
            return there
        await asyncio.sleep(LOOK_EVERY_S)
    if life.alive:
        return [life.process.pid]
    life.tree.end()
    return []


async def left_alone(life: Life, within_s: float) -> list[int]:
    """Whether the process that was started has not ended within that time, whatever became of what it started."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(life.process.wait(), within_s)
    return [life.process.pid] if life.alive else []


async def kill(life: Life, look: Look) -> list[int]:
    """SIGKILL to all of a tree until nothing is left; returns what could not be killed."""
    ends_s = time.monotonic() + _KILLED_WITHIN_S
    while True:
        send(look, life.process.pid, signal.SIGKILL)
        there = await left(life, look, _KILL_AGAIN_S)
        if not there or time.monotonic() > ends_s:
            return there


async def sweep(guard: Guard, marks: Sequence[bytes], since: int) -> None:
    """Kill whatever has started since then and is of the guard's, until nothing is left.

    That is what carries one of the marks, what came of that, and what has lost its parent and its mark.
    """
    for _ in range(_SWEEPS):
        found = table()
        guard.reap()
        pids = {pid for mark in marks for pid in marked(found, mark, since)}
        pids = family(found, pids | guard.orphans(found, since))
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(LOOK_EVERY_S)


def named(pids: Iterable[int]) -> str:
    """Processes as people know them."""
    return ", ".join(f"process {pid} ({command_of(pid)})" for pid in sorted(pids))

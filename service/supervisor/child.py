"""One life of another process: spawned, seen to end, ended with all that came of it.

A child ends in two ways when the gateway is gone: the kernel signals it (PR_SET_PDEATHSIG, which
fires when the *thread* that spawned it ends, hence a thread that lives as long as the gateway), and
it reads the end of a pipe that only the gateway holds open.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from service.processes import Process
from service.state import StateDir
from service.supervisor.handover import Hand

_PR_SET_CHILD_SUBREAPER: Final = 36
_POLL_S: Final = 0.01


def run_command(state: StateDir, process: Process) -> list[str]:
    """The command that runs `process`."""
    return [sys.executable, "-m", "service", "run", process.name, "--state", str(state.root)]


class Nursery:
    """Spawns processes from the thread that it is used in, and ends them."""

    def __init__(self, command: Callable[[Process], Sequence[str]], hand: Hand) -> None:
        self._command = command
        self._hand = hand
        self._living: set[int] = set()

    def adopt(self) -> None:
        """What a child leaves behind becomes a child of this process, where it is found and ended."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def spawn(self, process: Process, changed: Callable[[], None]) -> "Child":
        """Start `process`; `changed` is called in this thread's event loop when it has ended. Raises OSError."""
        with self._hand(process) as handed:
            # A group of its own: Ctrl-C is for the gateway, which ends the others in their order.
            child = subprocess.Popen(
                self._command(process),
                env=handed.environ,
                pass_fds=handed.descriptors,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        self._living.add(child.pid)
        return Child(child, changed, self._clear)

    async def _clear(self, ended: int) -> None:
        """End what a child has left behind, and what that leaves behind, until there is nothing."""
        self._living.discard(ended)
        while orphans := _children_of_this_process() - self._living:
            for each in orphans:
                os.kill(each, signal.SIGKILL)
            while not all(_is_reaped(each) for each in orphans):  # noqa: ASYNC110 - asked, not told
                await asyncio.sleep(_POLL_S)


class Child:
    """A process that was spawned, until it and its descendants have ended."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        changed: Callable[[], None],
        clear: Callable[[int], Awaitable[None]],
    ) -> None:
        self._process = process
        self._changed = changed
        self._clear = clear
        self._ended = asyncio.Event()
        self._watched = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._watched, self._over)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit(self) -> int | None:
        """What it ended with, minus the number of a signal; None while it lives."""
        return self._process.poll()

    async def end(self, grace_s: float) -> None:
        """End it and its descendants; return when they are gone. It has `grace_s` to do so by itself."""
        if grace_s and self.exit is None:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._ended.wait()
        self._process.kill()
        await self._ended.wait()
        await self._clear(self.pid)

    def _over(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        self._process.wait()
        self._ended.set()
        self._changed()


def _children_of_this_process() -> set[int]:
    listed = Path("/proc/self/task").glob("*/children")
    return {int(each) for one in listed for each in one.read_text().split()}


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True

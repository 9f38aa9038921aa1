"""Ends a run early: once, in order, and with its evidence closed, whichever signal asks for it.

Ctrl-C at a terminal reaches every process of its group, `kill` reaches one. Workers therefore leave the group
and are told by the controlling process alone; what they were told once is not said again.

Python's own handler raises wherever the main thread happens to be, in half of a constructor too. What is said to a
worker is therefore noted at once, and acted upon where that can be borne: it cancels the coroutine that runs, and
keeps the next from beginning.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


def heed_sigterm() -> None:
    """Let SIGTERM, which job runners send, do what Ctrl-C does."""
    _heed_sigint()
    signal.signal(signal.SIGTERM, _as_ctrl_c)


def _heed_sigint() -> None:
    """A shell starts what it puts into the background with SIGINT ignored, and then nothing would end a run."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGINT)


class _Noted:
    """A handler of SIGINT that notes it, and cancels the coroutine that runs, if any does."""

    def __init__(self) -> None:
        self._told = False
        self._cancel: Callable[[], object] | None = None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if not self._told and self._cancel is not None:
            self._cancel()
        self._told = True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """KeyboardInterrupt at the beginning or at the end, whatever became of what is between them."""
        before = signal.signal(signal.SIGINT, self)
        try:
            self.check()
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            self.check()

    async def run(self, work: Callable[[], Coroutine[object, object, T]]) -> T:
        """Do it unless told to end."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        if self._told:
            task.cancel()
        try:
            return await work()
        finally:
            self._cancel = None

    def check(self) -> None:
        """KeyboardInterrupt when it was told."""
        if self._told:
            raise KeyboardInterrupt


_worker: _Noted | None = None


def join(directory: Path, worker: str) -> None:
    """In a worker: out of the terminal's reach, and known to the controlling process."""
    global _worker  # noqa: PLW0603 - a process has one handler of a signal
    _worker = _Noted()
    signal.signal(signal.SIGINT, _worker)
    os.setpgid(0, 0)
    (directory / f"{worker}.pid").write_text(str(os.getpid()))


def check() -> None:
    """Between two things that a worker does: KeyboardInterrupt when it was told to end."""
    if _worker is not None:
        _worker.check()


def run_async(work: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run `work` in an event loop of its own. KeyboardInterrupt when the process was told to end."""
    noted = _worker or _Noted()
    with noted.listening(), asyncio.Runner() as runner:
        return runner.run(noted.run(work))


def run_in(runner: asyncio.Runner, work: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run `work` in a loop that is kept. KeyboardInterrupt when the process was told to end."""
    noted = _worker or _Noted()
    with noted.listening():
        return runner.run(noted.run(work))


class Relay:
    """A pytest plugin of the controlling process: passes an interrupt on to every worker."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def pytest_keyboard_interrupt(self) -> None:
        """Workers close the evidence of what they are doing; pytest then waits for their end."""
        for path in self.directory.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGINT)

    def pytest_unconfigure(self) -> None:
        """The number of a process that has ended is given to another one day."""
        for path in self.directory.glob("*.pid"):
            path.unlink()

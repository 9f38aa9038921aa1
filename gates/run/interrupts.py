"""Ends a run early: once, in order, and with its evidence closed, whichever signal asks for it.

Ctrl-C at a terminal reaches every process of its group, `kill` reaches one. Workers therefore leave the group
and are told by the controlling process alone; what they were told once is not said again.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
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


def join(directory: Path, worker: str) -> None:
    """In a worker: out of the terminal's reach, and known to the controlling process."""
    _heed_sigint()
    os.setpgid(0, 0)
    (directory / f"{worker}.pid").write_text(str(os.getpid()))


def run_async(work: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run `work` in an event loop of its own, which is made first.

    An interrupt while `asyncio.run` makes its loop leaves a coroutine that nobody awaits, and Python says so.
    """
    with asyncio.Runner() as runner:
        runner.get_loop()
        return runner.run(work())


class Relay:
    """A pytest plugin of the controlling process: passes an interrupt on to every worker."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def pytest_keyboard_interrupt(self) -> None:
        """Workers close the evidence of what they are doing; pytest then waits for their end."""
        for path in self.directory.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGINT)

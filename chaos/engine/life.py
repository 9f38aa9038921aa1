"""One life of one process of the target."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from chaos.clock import RunClock
from chaos.evidence.recorder import Recorder
from chaos.evidence.schema import Process
from chaos.guard import Signalled
from chaos.trees import Tree

_LEAVING = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
)
"""What processes are told with to end by themselves, each by its own custom."""


class Handle(Signalled, Protocol):
    """A process, as far as a life asks for it; its `returncode` is what it ended with."""

    async def wait(self) -> int:
        """Wait for its end."""


class Life:
    """From its start to its end, recorded once. `env` is what its start added to the environment of its target.

    It is the life of `process`, which was started; `tree` is that with all that came of it.
    """

    def __init__(
        self,
        name: str,
        process: Handle,
        tree: Tree,
        started_ms: float,
        log: Path,
        argv: list[str],
        env: Mapping[str, str],
    ) -> None:
        self.name = name
        self.process = process
        self.tree = tree
        self.started_ms = started_ms
        self.ready_ms: float | None = None
        self.log = log
        self.argv = argv
        self.env = env
        self.parent = os.getpid()
        self.signals: set[int] = set()
        self.ended_by: Literal["itself", "asked", "kill", "teardown"] = "itself"
        self._recorded = False
        self._exited_s: float | None = None
        # Its end is noticed when it happens, not when somebody asks.
        self._waiting = asyncio.create_task(self._await_end())

    @property
    def alive(self) -> bool:
        """Whether it has not been seen to end."""
        return self.process.returncode is None

    @property
    def exit(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self.process.returncode

    @property
    def was_signalled(self) -> bool:
        """Whether it ended as one does that was sent a signal: by it, or, where that is no way to crash, in good order."""
        code = self.exit
        return code is not None and (
            -code in self.signals or (code == 0 and bool(self.signals & _LEAVING))
        )

    def tail(self, most_bytes: int = 8192) -> bytes:
        """The last of what it has written to its output."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most_bytes))
            return file.read()

    def forget(self) -> None:
        """Write no row: the gate whose evidence it would be is closed."""
        self._recorded = True

    def record(self, recorder: Recorder, clock: RunClock) -> None:
        """Write its row, once."""
        if self._recorded:
            return
        self._recorded = True
        if self.ended_by == "itself" and self.was_signalled:
            self.ended_by = "kill"
        exited_s = time.monotonic() if self._exited_s is None else self._exited_s
        recorder.add(
            Process,
            process=self.name,
            pid=self.process.pid,
            parent=self.parent,
            started_ms=self.started_ms,
            ready_ms=self.ready_ms,
            exited_ms=clock.at_ms(exited_s),
            exit=self.exit,
            ended_by=self.ended_by,
            output=self.log.name,
        )

    async def _await_end(self) -> None:
        await self.process.wait()
        self._exited_s = time.monotonic()

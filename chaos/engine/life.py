"""One life of one process of the target."""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from chaos.clock import RunClock
from chaos.evidence.recorder import Recorder
from chaos.evidence.schema import Process


class Life:
    """From its start to its end, recorded once. `env` is what its start added to the environment of its target."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        started_ms: float,
        log: Path,
        argv: list[str],
        env: Mapping[str, str],
    ) -> None:
        self.name = name
        self.process = process
        self.started_ms = started_ms
        self.ready_ms: float | None = None
        self.log = log
        self.argv = argv
        self.env = env
        self.ended_by: Literal["itself", "kill", "teardown"] = "itself"
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

    def tail(self, most_bytes: int = 1500) -> bytes:
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
        exited_s = time.monotonic() if self._exited_s is None else self._exited_s
        recorder.add(
            Process,
            process=self.name,
            pid=self.process.pid,
            parent=os.getpid(),
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

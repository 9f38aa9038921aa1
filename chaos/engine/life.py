"""One life of one process of the target."""

import asyncio
from pathlib import Path
from typing import Literal

from chaos.clock import RunClock
from chaos.evidence.recorder import Recorder
from chaos.evidence.schema import Process


class Life:
    """From its start to its end, recorded once."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        started_ms: float,
        log: Path,
        argv: list[str],
    ) -> None:
        self.name = name
        self.process = process
        self.started_ms = started_ms
        self.ready_ms: float | None = None
        self.log = log
        self.argv = argv
        self.ended_by: Literal["itself", "kill", "teardown"] = "itself"
        self._recorded = False

    @property
    def alive(self) -> bool:
        """Whether it has not been seen to end."""
        return self.process.returncode is None

    @property
    def exit(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self.process.returncode

    def forget(self) -> None:
        """Write no row: the gate whose evidence it would be is closed."""
        self._recorded = True

    def record(self, recorder: Recorder, clock: RunClock) -> None:
        """Write its row, once."""
        if self._recorded:
            return
        self._recorded = True
        recorder.add(
            Process,
            process=self.name,
            pid=self.process.pid,
            parent=0,
            started_ms=self.started_ms,
            ready_ms=self.ready_ms,
            exited_ms=clock.now_ms(),
            exit=self.exit,
            ended_by=self.ended_by,
            output=self.log.name,
        )

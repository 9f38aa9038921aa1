"""Runs `python -m gates` as its users do: as a process of its own, in a directory of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[2]
LONGEST_S = 120.0


class Ended(Struct, frozen=True):
    """A command that has ended, and all that it printed."""

    exit: int
    output: str


class Command:
    """The command line in `directory`, whose `specs` it reads. Temporary files go to its `tmp`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.scratch = directory / "tmp"
        self.scratch.mkdir(exist_ok=True)
        self._output = directory / "output.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the controlling process, which leads a group of its own."""
        assert self._process is not None
        return self._process.pid

    def start(self, *arguments: str) -> None:
        """Start it and go on."""
        self.start_in([], *arguments)

    def start_in(self, wrapper: list[str], *arguments: str) -> None:
        """Start it by another program that runs what follows its own arguments."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(self.scratch)}
        # Of the test's own run, if that is a worker.
        environment.pop("PYTEST_XDIST_WORKER", None)
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "gates", *arguments],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self) -> Ended:
        """Wait for its end."""
        assert self._process is not None
        try:
            code = self._process.wait(LONGEST_S)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        return Ended(code, self._output.read_text(encoding="utf-8"))

    def finish(self, *arguments: str) -> Ended:
        """Start it and wait for its end."""
        self.start(*arguments)
        return self.end()

    def processes(self) -> dict[int, str]:
        """Command lines of all living processes that it has started, or that those have."""
        mark, found = f"TMPDIR={self.scratch}".encode(), {}
        for entry in Path("/proc").iterdir():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes()
                    found[int(entry.name)] = line.replace(b"\0", b" ").decode()
            except (OSError, ValueError):
                continue
        return {pid: line for pid, line in found.items() if line}

    def left_behind(self) -> list[str]:
        """State directories that are still there."""
        left = [
            path for path in self.scratch.glob("chaos-*") if not path.name.startswith("chaos-ports")
        ]
        return sorted(path.name for path in left)


def until(condition: Callable[[], object], what: str, within_s: float = 60.0) -> None:
    """Wait for a condition; AssertionError naming it when it does not come about."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(0.02)

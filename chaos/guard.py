"""Nothing is ever left behind: a guard process ends whatever a run started, however the run goes.

The guard holds the reading end of a pipe whose writing end lives only in the worker. When the worker
goes (return, exception, Ctrl-C, SIGKILL), the pipe closes and the guard kills every process that
carries the run's marker in its environment. The marker is set before a process exists, so there is
no moment in which one could be missed, and a child that starts a session of its own keeps it.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

MARKER = "CHAOS_GUARD"

_GUARD_CODE = r"""
import os, signal, sys
marker = sys.argv[1].encode()
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.stdin.buffer.read()
for _ in range(50):
    found = False
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if marker in file.read().split(b"\0"):
                    with open(f"/proc/{name}/stat", "rb") as stat:
                        if stat.read().rpartition(b")")[2].split()[0] == b"Z":
                            continue
                    found = True
                    os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue
    if not found:
        break
"""


class Guard:
    """Starts the processes of a stack and makes sure that all of them end with it."""

    def __init__(self) -> None:
        self.marker = f"{MARKER}={secrets.token_hex(8)}"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD_CODE, self.marker],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    async def spawn(
        self,
        argv: list[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: IO[bytes] | int | None = None,
        stderr: IO[bytes] | int | None = None,
        cwd: Path | None = None,
    ) -> asyncio.subprocess.Process:
        """Start a process in a group of its own that cannot outlive this guard."""
        name, _, value = self.marker.partition("=")
        return await asyncio.create_subprocess_exec(
            *argv,
            env={**(os.environ if env is None else env), name: value},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            start_new_session=True,
        )

    def close(self) -> None:
        """Kill whatever is left and wait until the guard has seen that nothing is."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:  # pragma: no cover - /proc stuck
            self._process.kill()


async def end_process(process: asyncio.subprocess.Process, within_s: float) -> None:
    """SIGTERM, then SIGKILL to the whole group after `within_s`."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), within_s)
        except TimeoutError:
            pass
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass

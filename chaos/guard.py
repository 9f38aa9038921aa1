"""Nothing is ever left behind: a guard process ends whatever a run started, however the run goes.

The guard holds the reading end of a pipe whose writing end lives only in the worker. When the worker
goes (return, exception, Ctrl-C, SIGKILL), the pipe closes and the guard kills every process that
carries the run's marker in its environment, with all their children and all of their sessions, and
removes the directory that the worker had its state in. The marker is set before a process exists, so there is no moment in which one could be missed, and a child
that starts a session of its own keeps it.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

MARKER: Final = "CHAOS_GUARD"

_GUARD_CODE: Final = r"""
import os, signal, sys, time

marker = sys.argv[1].encode()

def processes():
    # pid: (state, parent, session, marked)
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                marked = marker in file.read().split(b"\0")
        except OSError:
            marked = False
        found[int(name)] = (fields[0], int(fields[1]), int(fields[3]), marked)
    return found

def doomed(found):
    pids = {pid for pid, (_, _, _, marked) in found.items() if marked}
    sessions = {found[pid][2] for pid in pids}
    before = None
    while before != len(pids):
        before = len(pids)
        for pid, (_, parent, session, _) in found.items():
            # A child that cleared its environment is still a child, and still in its session.
            if parent in pids or session in sessions:
                pids.add(pid)
    return [pid for pid in pids if found[pid][0] != b"Z"]

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sys.stdin.buffer.read()
quiet = 0
# Twice nothing: a process that was just being started when the worker went is seen by then.
for _ in range(200):
    pids = doomed(processes())
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    quiet = 0 if pids else quiet + 1
    if quiet == 2:
        break
    time.sleep(0.02)
import shutil
shutil.rmtree(sys.argv[2], ignore_errors=True)
"""


class Guard:
    """Starts the processes of a stack and makes sure that all of them end with it.

    `directory` is a fresh one for whatever the stack keeps on disk; it goes when the guard does.
    """

    def __init__(self) -> None:
        self.marker = f"{MARKER}={secrets.token_hex(8)}"
        self.directory = Path(tempfile.mkdtemp(prefix="chaos-"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD_CODE, self.marker, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
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
        """Start a process in a session of its own that cannot outlive this guard. Raises OSError."""
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
    """SIGTERM to the whole group and, after `within_s`, SIGKILL; nothing of it is left afterwards."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), within_s)
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)

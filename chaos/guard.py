"""Nothing is ever left behind: a guard process ends whatever a run started, however the run goes.

The guard holds the reading end of a pipe whose writing end lives only in the worker. When the worker
goes (return, exception, Ctrl-C, SIGKILL), the pipe closes and the guard (`chaos.guarding`) kills every
process that carries the run's marker in its environment, with all their children and all of their sessions,
and whatever the worker told it of, and removes the directory that the worker had its state in. A process has the
marker from its first instruction on, and a child that starts a session of its own keeps it; one that takes it
off is found by its parent, which is the worker itself once it has lost its own.
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
from typing import IO, ClassVar, Final, Protocol

from chaos.guarding import image_of
from chaos.marks import STARTED, stat_of
from chaos.trees import Table, adopt_orphans, family, now_ticks, orphans, reap

MARKER: Final = "CHAOS_GUARD"

_started_here: dict[int, int] = {}
"""Every child that this process has started by a guard, and the guards: their numbers, which are used again, and when they
were started."""

_ROOT: Final = str(Path(__file__).parents[1])
_GUARDING: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from chaos.guarding import main; main()"
)


class Guard:
    """Starts the processes of a stack and makes sure that all of them end with it.

    `directory` is a fresh one for whatever the stack keeps on disk; it goes when the guard does.
    """

    _starting: ClassVar[int] = 0

    def __init__(self) -> None:
        self.marker = f"{MARKER}={secrets.token_hex(8)}"
        self.directory = Path(tempfile.mkdtemp(prefix="chaos-"))
        argv = [sys.executable, "-I", "-S", "-c", _GUARDING, _ROOT]
        self._process = subprocess.Popen(
            [*argv, self.marker, str(image_of(os.getpid())), str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _remember(self._process.pid)
        self._told: set[tuple[int, int]] = set()
        adopt_orphans()
        self.since = now_ticks()

    async def spawn_module(
        self,
        module: str,
        *arguments: str,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> asyncio.subprocess.Process:
        """Start one of the harness's own modules, whatever directory the target runs in. Raises OSError."""
        path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
        return await self.spawn(
            [sys.executable, "-P", "-m", module, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
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
        # Until it is remembered, one that has ended at once looks like any orphan.
        Guard._starting += 1
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env={**(os.environ if env is None else env), name: value},
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                start_new_session=True,
            )
            _remember(process.pid)
        finally:
            Guard._starting -= 1
        return process

    def reap(self) -> None:
        """Let go of what was adopted since this guard was made and has ended, by itself or otherwise."""
        if not Guard._starting:
            reap(_started_here, self.since)

    @property
    def children(self) -> Mapping[int, int]:
        """Every child that was started here, whose exit code is for who started it, and when that was, in ticks."""
        return _started_here

    def orphans(self, found: Table, since: int) -> set[int]:
        """What was started by something of this guard's, lost its parent and took the mark off, and all that came of it.

        Only what has begun since then: it is in ticks, as `chaos.trees` counts them.
        """
        adopted = family(found, orphans(found, _started_here, self.marker.encode(), since))
        # Once this process is gone nothing tells whose they are.
        self.tell({pid: found[pid] for pid in adopted})
        return adopted

    def tell(self, found: Table) -> None:
        """Let the guard know of processes that are to end with the worker, whatever sign they may lose."""
        news = {(pid, process.started) for pid, process in found.items()} - self._told
        if news and self._process.stdin is not None:
            self._told |= news
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(b"".join(b"%d %d\n" % one for one in sorted(news)))
                self._process.stdin.flush()

    def close(self) -> None:
        """Kill whatever is left and wait until the guard has seen that nothing is."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:  # pragma: no cover - /proc stuck
            self._process.kill()


def _remember(pid: int) -> None:
    """Know a child that has just been started; it may have ended by now, and nobody has waited for it yet."""
    with contextlib.suppress(OSError):
        _started_here[pid] = int(stat_of(pid)[STARTED])


class Signalled(Protocol):
    """A process that can be sent a signal."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def returncode(self) -> int | None:
        """None while it lives."""


def send_signal(process: Signalled, number: int) -> None:
    """Send a signal to one child. ProcessLookupError when it has ended.

    Its own `send_signal`, `terminate` and `kill` look first whether it has ended, and with that take its exit
    code away from whoever waits for it: asyncio then tells 255 instead.
    """
    if process.returncode is not None:
        raise ProcessLookupError(process.pid)
    os.kill(process.pid, number)


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

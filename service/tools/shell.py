"""`shell.run`: a command in the workspace, confined, bounded, with everything it started ended.

A keeper of its own sees to the command (`service/tools/keeper.py`); here its output is read and its time is measured.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from service.settings import Confinement
from service.tools import keeper
from service.tools.landlock import landlock_version
from service.tools.processes import children_offered
from service.tools.seccomp import seccomp_offered
from service.tools.workspace import Workspace

MAX_OUTPUT_BYTES: Final = 65_536
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
# What the keeper may take to end everything; it is not waited for longer.
END_WITHIN_S: Final = 2.0
READ_BYTES: Final = 65_536
REPORT_BYTES: Final = 4_096
_KEEPER: Final = f"from {keeper.__name__} import main; main()"
_SOURCE: Final = str(Path(__file__).parents[2])
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ShellResult(msgspec.Struct, frozen=True):
    """What a command did.

    `exit_status` is negative for a signal and None when it was ended for taking too long, or too much. Each output is cut
    after MAX_OUTPUT_BYTES and `truncated` says so. `confinement`: "landlock" (and a filter of system calls), or "seccomp" (the
    filter alone) or "directory" where the kernel has no more; empty when its time was over before it began.
    """

    exit_status: int | None
    stdout: str
    stderr: str
    truncated: bool
    confinement: str


class ShellEnd(msgspec.Struct, frozen=True):
    """A result, and what it was bounded by: the `limit` that ended it ("memory", "workspace"), if one did.

    `full`: the workspace was, so the command could read and remove, and not write.
    """

    result: ShellResult
    limit: str | None
    full: bool


class ConfinementFailed(Exception):
    """The command was not started, since it could not be restricted."""


class _Pipe(msgspec.Struct, frozen=True):
    reading: FileIO
    writing: FileIO


@contextlib.contextmanager
def _pipe() -> Iterator[_Pipe]:
    """A pipe of which both ends are closed at the end, whoever closed one before."""
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    with FileIO(ends[0], "r") as reading, FileIO(ends[1], "w") as writing:
        yield _Pipe(reading, writing)


class _Output:
    """What comes out of a pipe, as much of it as is kept, read as it comes."""

    def __init__(self, pipe: FileIO) -> None:
        self._pipe = pipe
        self._loop = asyncio.get_running_loop()
        self._kept = bytearray()
        self._truncated = False
        self.ended = asyncio.Event()
        self._loop.add_reader(pipe.fileno(), self._take)

    def close(self) -> None:
        """Read no more."""
        if not self.ended.is_set():
            self._loop.remove_reader(self._pipe.fileno())
            self._truncated = True

    def text(self) -> tuple[str, bool]:
        """What was kept, and whether there was more."""
        return self._kept.decode("utf-8", "replace"), self._truncated

    def _take(self) -> None:
        block = self._pipe.read(READ_BYTES)
        if block is None:
            return
        if not block:
            self._loop.remove_reader(self._pipe.fileno())
            self.ended.set()
        room = MAX_OUTPUT_BYTES - len(self._kept)
        self._kept += block[:room]
        self._truncated = self._truncated or len(block) > room


def missing_for_confinement() -> list[str]:
    """What this kernel lacks for all restrictions, in words."""
    offered = {
        "Landlock (Linux 5.13 and later, `landlock` in /sys/kernel/security/lsm)": bool(
            landlock_version()
        ),
        "seccomp filters that notify (Linux 5.5 and later, x86_64 or aarch64)": seccomp_offered(),
        "/proc with lists of children (CONFIG_PROC_CHILDREN)": children_offered(),
    }
    return [name for name, there in offered.items() if not there]


async def run_shell(command: str, workspace: Workspace, timeout_s: float) -> ShellEnd:
    """Run `command` in the workspace. No secret of this process reaches its environment.

    Raises ConfinementFailed; cancellation ends the command.
    """
    full = not await asyncio.to_thread(workspace.has_room)
    if missing_for_confinement():
        if workspace.limits.confinement is Confinement.REQUIRED:
            raise ConfinementFailed("the kernel does not confine commands")
        if full:
            raise ConfinementFailed(
                "the workspace is full, and the kernel keeps no command from writing"
            )
    with _pipe() as told, _pipe() as control, _pipe() as stdout, _pipe() as stderr:
        given = (told.writing, control.reading)
        process = await asyncio.create_subprocess_exec(
            *_keeper(command, workspace, full, *(each.fileno() for each in given)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout.writing,
            stderr=stderr.writing,
            env=_environment(workspace.root),
            pass_fds=[each.fileno() for each in given],
            start_new_session=True,
        )
        for theirs in (*given, stdout.writing, stderr.writing):
            theirs.close()
        outputs = [_Output(each.reading) for each in (stdout, stderr)]
        in_time = False
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await process.wait()
                    in_time = True
        finally:
            control.writing.close()
            await _ended(process, outputs)
        report = told.reading.read(REPORT_BYTES) or b""
        return _ran(report.decode(), in_time, full, [each.text() for each in outputs])


async def _ended(process: asyncio.subprocess.Process, outputs: list[_Output]) -> None:
    """Nobody is left when the keeper has ended, so nobody holds a pipe; but nothing is waited for for ever."""
    ends = [process.wait(), *(each.ended.wait() for each in outputs)]
    await asyncio.wait([asyncio.create_task(each) for each in ends], timeout=END_WITHIN_S)
    for output in outputs:
        output.close()


def _keeper(command: str, workspace: Workspace, full: bool, *descriptors: int) -> list[str]:
    limits = workspace.limits
    numbers = (
        *descriptors,
        limits.max_processes,
        limits.max_memory_bytes,
        MAX_FILE_BYTES,
        limits.max_workspace_bytes,
        limits.max_workspace_files,
        int(not full),
    )
    # Nothing of site, of a user, or of the workspace is imported; what this process has compiled is found.
    cache = [] if sys.pycache_prefix is None else ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    program = [sys.executable, "-S", "-s", "-P", "-B", *cache, "-c", _KEEPER]
    return [*program, str(workspace.root), command, *map(str, numbers)]


def _ran(report: str, in_time: bool, full: bool, outputs: list[tuple[str, bool]]) -> ShellEnd:
    (stdout, cut_stdout), (stderr, cut_stderr) = outputs
    confinement, _, end = report.partition(" ")
    kind, _, value = end.partition(" ")
    if confinement == "failed" or (in_time and not end):
        raise ConfinementFailed(
            end or stderr.strip().rpartition("\n")[2] or "the keeper ended early"
        )
    statuses = {"exit": 1, "signal": -1} if in_time else {}
    exit_status = int(value) * statuses[kind] if kind in statuses else None
    result = ShellResult(exit_status, stdout, stderr, cut_stdout or cut_stderr, confinement)
    return ShellEnd(result, value if in_time and kind == "limit" else None, full)


def _environment(root: Path) -> dict[str, str]:
    return {
        "PATH": _PATH,
        "HOME": str(root),
        "TMPDIR": str(root),
        "LANG": "C.UTF-8",
        "PYTHONPATH": _SOURCE,
    }

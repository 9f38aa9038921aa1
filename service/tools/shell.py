"""`shell.run`: a command in the workspace, bounded in time and output, with everything it started ended."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

MAX_OUTPUT_BYTES: Final = 65_536
DRAIN_S: Final = 1.0
READ_BYTES: Final = 65_536
_LAUNCHER: Final = str(Path(__file__).with_name("confine.py"))
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ShellResult(msgspec.Struct, frozen=True):
    """What a command did.

    `exit_status` is negative for a signal and None when it was killed for taking too long. Each output is cut after
    MAX_OUTPUT_BYTES and `truncated` says so. `confinement`: "landlock", or "directory" where the kernel has none; empty
    when its time was over before it began.
    """

    exit_status: int | None
    stdout: str
    stderr: str
    truncated: bool
    confinement: str


class ConfinementFailed(Exception):
    """The command was not started, since it could not be restricted."""


async def run_shell(command: str, root: Path, timeout_s: float) -> ShellResult:
    """Run `command` below `root`. No secret of this process reaches its environment.

    Raises ConfinementFailed; cancellation ends the command.
    """
    reading, writing = os.pipe()
    try:
        try:
            process = await _start(command, root, writing)
        finally:
            os.close(writing)
        return await _finish(process, timeout_s, reading)
    finally:
        os.close(reading)


async def _start(command: str, root: Path, report: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", _LAUNCHER, str(root), "/bin/sh", "-c", command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(root, report),
        pass_fds=(report,),
        start_new_session=True,
    )


async def _finish(
    process: asyncio.subprocess.Process, timeout_s: float, report: int
) -> ShellResult:
    assert process.stdout is not None
    assert process.stderr is not None
    outputs = [
        asyncio.create_task(_read_bounded(stream)) for stream in (process.stdout, process.stderr)
    ]
    in_time = False
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await _leader_ended(process.pid)
                in_time = True
    finally:
        # The command may have left children behind that hold the pipes; they go with it.
        _kill_group(process.pid)
        # A descendant that left the group could keep a pipe open; it is not waited for.
        await asyncio.wait([asyncio.create_task(process.wait()), *outputs], timeout=DRAIN_S)
    (stdout, cut_stdout), (stderr, cut_stderr) = [_output(task) for task in outputs]
    confinement = os.read(report, 16).decode("ascii")
    if in_time and not confinement:
        raise ConfinementFailed(stderr.strip().rpartition("\n")[2] or "the launcher ended early")
    exit_status = process.returncode if in_time else None
    return ShellResult(exit_status, stdout, stderr, cut_stdout or cut_stderr, confinement)


async def _leader_ended(pid: int) -> None:
    """Wait for the command itself; asyncio's own wait may also wait for whoever else holds its pipes."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(watched, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)


async def _read_bounded(stream: asyncio.StreamReader) -> tuple[bytes, bool]:
    kept = bytearray()
    truncated = False
    while block := await stream.read(READ_BYTES):
        room = MAX_OUTPUT_BYTES - len(kept)
        kept += block[:room]
        truncated = truncated or len(block) > room
    return bytes(kept), truncated


def _output(task: "asyncio.Task[tuple[bytes, bool]]") -> tuple[str, bool]:
    if not task.done():
        task.cancel()
        return "", True
    content, truncated = task.result()
    return content.decode("utf-8", "replace"), truncated


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _environment(root: Path, report: int) -> dict[str, str]:
    return {
        "PATH": _PATH,
        "HOME": str(root),
        "TMPDIR": str(root),
        "LANG": "C.UTF-8",
        "SONIA_CONFINEMENT_FD": str(report),
    }

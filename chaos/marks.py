"""Whose a process is: by a mark in its environment, read from outside.

Imports nothing but the standard library, as processes that have to start at once use it.
"""

import os
import time
from typing import Final

EXEC_WITHIN_S: Final = 5.0
"""How long an exec may take that has to read its program from a disk."""

_LOOK_AGAIN_S: Final = 0.0005
_STAT_BYTES: Final = 4096
_KERNEL_THREAD: Final = 0x00200000
_STATE, _FLAGS, _ENV_START, _ENV_END = 0, 6, 47, 48
PARENT, SESSION, THREADS, STARTED = 1, 3, 17, 19
"""Places in /proc/PID/stat, counted from the state, which proc_pid_stat(5) numbers 3."""


def read(path: str) -> bytes:
    """All of a file."""
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs milliseconds of start-up
        return file.read()


def stat_of(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on. OSError when there is no such process."""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # All of it at once: some 400 bytes, asked of every process of the machine.
        line = os.read(descriptor, _STAT_BYTES)
    finally:
        os.close(descriptor)
    return line.rpartition(b")")[2].split()


def all_pids() -> list[int]:
    """Every process that is there."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - as above


def environment_of(pid: int) -> bytes:
    """The environment that a process was started with, `NAME=value` each, ended by a NUL.

    It is empty where there is none to be seen: the process is gone or a zombie, is the kernel's or somebody
    else's. Between an exec and its first instruction it is empty, too, whatever was given: that is waited out.
    """
    deadline_s = time.monotonic() + EXEC_WITHIN_S
    while True:
        try:
            found = read(f"/proc/{pid}/environ")
            if found or _has_none(stat_of(pid)) or time.monotonic() > deadline_s:
                return found
        except OSError:
            return b""
        time.sleep(_LOOK_AGAIN_S)


def _has_none(stat: list[bytes]) -> bool:
    """Whether an environment that was seen empty is so for good: it has a place in memory, and no length."""
    if stat[_STATE] in (b"Z", b"X") or int(stat[_FLAGS]) & _KERNEL_THREAD:
        return True
    return stat[_ENV_START] == stat[_ENV_END] != b"0"


def carries(pid: int, mark: bytes) -> bool:
    """Whether a process has `NAME=value` in its environment."""
    return mark in environment_of(pid).split(b"\0")

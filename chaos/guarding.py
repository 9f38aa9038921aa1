"""The guard process: waits until the worker is gone, then ends all that carries its mark.

Started by `chaos.guard` with nothing but the standard library.

A child of the worker is not marked until it has become the program that it was started for: until then it has
the worker's own memory, and so its command line and environment: its image. The guard looks on while there is one.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from typing import Final, NamedTuple
from zlib import crc32

from chaos.marks import all_pids, carries, environment_of, read, stat_of

LOOKS: Final = 200
LOOK_EVERY_S: Final = 0.02
_PARENT, _SESSION, _STARTED = 1, 3, 19
"""Places in what `stat_of` returns."""


class Process(NamedTuple):
    """A process that is no zombie; `started` is in ticks of the kernel."""

    parent: int
    session: int
    started: int
    image: int
    is_marked: bool


def image_of(pid: int) -> int:
    """A checksum of the command line and environment of a process. OSError when it has ended."""
    return crc32(environment_of(pid), crc32(read(f"/proc/{pid}/cmdline")))


def process(pid: int, mark: bytes) -> Process | None:
    """A process as it is now; None for one that has ended."""
    try:
        stat = stat_of(pid)
        if stat[0] == b"Z":
            return None
        return Process(
            parent=int(stat[_PARENT]),
            session=int(stat[_SESSION]),
            started=int(stat[_STARTED]),
            image=image_of(pid),
            is_marked=carries(pid, mark),
        )
    except OSError:
        return None


def processes(mark: bytes) -> dict[int, Process]:
    """All processes but this one."""
    found = ((pid, process(pid, mark)) for pid in all_pids() if pid != os.getpid())
    return {pid: seen for pid, seen in found if seen is not None}


def doomed(found: dict[int, Process]) -> set[int]:
    """What is marked, and all that belongs to it."""
    pids = {pid for pid, seen in found.items() if seen.is_marked}
    sessions = {found[pid].session for pid in pids}
    before = None
    while before != len(pids):
        before = len(pids)
        # A child that cleared its environment is still a child, and still in its session.
        pids |= {
            pid for pid, seen in found.items() if seen.parent in pids or seen.session in sessions
        }
    return pids


def unborn(found: dict[int, Process], worker: int, since: int) -> set[int]:
    """Children of the worker, of which `worker` is the image, with a session of their own and no program yet."""
    return {
        pid
        for pid, seen in found.items()
        if seen.session == pid and seen.started >= since and seen.image == worker
    }


def end_all(mark: bytes, worker: int, since: int) -> None:
    """Kill until nothing is left, nor about to be."""
    quiet = 0
    # Twice nothing: what was just being started by a process that is dead by now is seen by then.
    for _ in range(LOOKS):
        found = processes(mark)
        pids = doomed(found)
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        quiet = 0 if pids or unborn(found, worker, since) else quiet + 1
        if quiet == 2:
            return
        time.sleep(LOOK_EVERY_S)


def main() -> None:
    """Wait for the end of standard input. Arguments: the mark, the worker's image, and a directory that goes, too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    mark, worker, directory = sys.argv[-3:]
    since = int(stat_of(os.getpid())[_STARTED])
    sys.stdin.buffer.read()
    end_all(mark.encode(), int(worker), since)
    shutil.rmtree(directory, ignore_errors=True)

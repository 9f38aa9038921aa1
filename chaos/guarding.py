"""The guard process: waits until the worker is gone, then ends all that belongs to it.

Started by `chaos.guard` with nothing but the standard library.

What belongs to it carries its mark, or came of what does, or was told by the worker while it lived: a process
that wrote over its environment and lost its parent is known to nobody else.

A child of the worker is not marked until it has become the program that it was started for: until then it has
the worker's own memory, and so its command line and environment: its image. The guard looks on while there is one.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from typing import Final
from zlib import crc32

from chaos.marks import environment_of, read
from chaos.trees import Table, family, marked, seen, table

LOOKS: Final = 200
LOOK_EVERY_S: Final = 0.02


def image_of(pid: int) -> int:
    """A checksum of the command line and environment of a process. OSError when it has ended."""
    return crc32(environment_of(pid), crc32(read(f"/proc/{pid}/cmdline")))


def doomed(found: Table, mark: bytes, told: Mapping[int, int]) -> set[int]:
    """What is marked or was told, by its id and start, and all that belongs to it."""
    pids = {pid for pid, started in told.items() if pid in found and found[pid].started == started}
    return family(found, pids | marked(found, mark, 0))


def unborn(found: Table, worker: int, since: int) -> set[int]:
    """Children of the worker, of which `worker` is the image, with a session of their own and no program yet."""
    leaders = (pid for pid, process in found.items() if process.session == pid)
    return {pid for pid in leaders if found[pid].started >= since and _has_image(pid, worker)}


def _has_image(pid: int, image: int) -> bool:
    with contextlib.suppress(OSError):
        return image_of(pid) == image
    return False


def end_all(mark: bytes, worker: int, since: int, told: Mapping[int, int]) -> None:
    """Kill until nothing is left, nor about to be."""
    quiet = 0
    # Twice nothing: what was just being started by a process that is dead by now is seen by then.
    for _ in range(LOOKS):
        found = table()
        pids = doomed(found, mark, told)
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        quiet = 0 if pids or unborn(found, worker, since) else quiet + 1
        if quiet == 2:
            return
        time.sleep(LOOK_EVERY_S)


def listen() -> dict[int, int]:
    """Processes by their ids with their starts, a line each, until the worker is gone; the last line may be cut."""
    told = {}
    for line in sys.stdin.buffer:
        pid, _, started = line.partition(b" ")
        if line.endswith(b"\n"):
            told[int(pid)] = int(started)
    return told


def main() -> None:
    """Wait for the end of standard input. Arguments: the mark, the worker's image, and a directory that goes, too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    mark, worker, directory = sys.argv[-3:]
    own = seen(os.getpid())
    since = 0 if own is None else own.started
    told = listen()
    end_all(mark.encode(), int(worker), since, told)
    shutil.rmtree(directory, ignore_errors=True)

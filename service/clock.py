"""Time that never goes back: max(wall clock, high-water mark + monotonic time since).

The mark is kept in a file of its own, so that a clock turned back revives no token and no
confirmation, across restarts too. A clock that once ran ahead is accepted again only by
`sonia doctor --accept-clock`.
"""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from service.errors import StartRefused, of_disk
from service.files import replace

Nanoseconds = Callable[[], int]
_NS_PER_MS: Final = 1_000_000
_DIGITS: Final = 20
PERSIST_EVERY_MS: Final = 100
# A new file would not be written either.
_OF_DISK: Final = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES})


def wall_ms() -> int:
    """Milliseconds since the epoch by the machine's clock."""
    return time.time_ns() // _NS_PER_MS


class MarkFile:
    """The high-water mark on disk: one fixed-width decimal line, overwritten in place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, access: int = os.O_RDWR) -> int:
        """Open the file and return its mark in milliseconds. Raises StartRefused."""
        try:
            self._descriptor = os.open(self._path, access | os.O_NOFOLLOW | os.O_CLOEXEC)
            text = os.pread(self._descriptor, _DIGITS + 1, 0).decode("ascii")
            if len(text) != _DIGITS + 1:
                raise ValueError(f"{len(text)} characters instead of {_DIGITS + 1}")
            return int(text)
        except (OSError, ValueError) as wrong:
            remedy = "`sonia doctor --accept-clock` writes a new one"
            if isinstance(wrong, OSError) and wrong.errno in _OF_DISK:
                remedy = of_disk(wrong)
            raise StartRefused(f"{self._path.name}: {wrong}", remedy) from wrong

    def create(self, mark_ms: int) -> None:
        """Put a new file holding `mark_ms` in the place of any, and keep it open."""
        replace(self._path, _line(mark_ms))
        self.open()

    def write(self, mark_ms: int) -> None:
        """Replace the mark; survives the end of this process at once and a power cut after `sync`."""
        os.pwrite(self._descriptor, _line(mark_ms), 0)

    def sync(self) -> None:
        """Force the mark to disk."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file; nothing can be written afterwards."""
        os.close(self._descriptor)


def _line(mark_ms: int) -> bytes:
    return f"{mark_ms:0{_DIGITS}d}\n".encode("ascii")


class Clock:
    """`now_ms` never decreases while a state directory lives, whatever the wall clock does.

    `wall` gives nanoseconds since the epoch and `monotonic` nanoseconds since any origin. What is in between must
    not be rounded: offsets only grow, so what rounding adds would stay, and time would run ahead of the machine's.
    """

    def __init__(
        self,
        mark: MarkFile,
        mark_ms: int,
        wall: Nanoseconds = time.time_ns,
        monotonic: Nanoseconds = time.monotonic_ns,
    ) -> None:
        self._file = mark
        self._wall = wall
        self._monotonic = monotonic
        self._offset_ns = mark_ms * _NS_PER_MS - monotonic()
        self._written_ms = mark_ms

    def now_ms(self) -> int:
        """Milliseconds since the epoch, at least the high-water mark plus what has passed since.

        Callable from any thread: the only state is one number, which only grows.
        """
        # The wall clock first: what passes between the two readings must not count as time gone by.
        wall_ns = self._wall()
        elapsed_ns = self._monotonic()
        self._offset_ns = max(self._offset_ns, wall_ns - elapsed_ns)
        now = (elapsed_ns + self._offset_ns) // _NS_PER_MS
        if now - self._written_ms >= PERSIST_EVERY_MS:
            self.persist(now)
        return now

    def raise_to(self, floor_ms: int) -> None:
        """Never again tell a time before `floor_ms`, at which something is known to have happened."""
        self._offset_ns = max(self._offset_ns, floor_ms * _NS_PER_MS - self._monotonic())

    def forget(self) -> None:
        """Take the wall clock as it is, however far back; only for `sonia doctor --accept-clock`."""
        self._offset_ns = self._wall() - self._monotonic()
        self._written_ms = 0

    def persist(self, now_ms: int) -> None:
        """Write the mark, so that a decision taken at `now_ms` outlives this process."""
        if now_ms > self._written_ms:
            self._file.write(now_ms)
            self._written_ms = now_ms

    def sync(self) -> None:
        """Write the mark as of now and force it to disk."""
        self.persist(self.now_ms())
        self._file.sync()


def read_mark(path: Path) -> int:
    """The mark of a state directory in milliseconds, for whoever only reads. Raises StartRefused."""
    mark = MarkFile(path)
    mark_ms = mark.open(os.O_RDONLY)
    mark.close()
    return mark_ms


def open_clock(path: Path) -> Clock:
    """Open the clock of a state directory. Raises StartRefused."""
    mark = MarkFile(path)
    return Clock(mark, mark.open())


def create_clock(path: Path) -> Clock:
    """Start a clock at the machine's time, forgetting any earlier mark."""
    mark = MarkFile(path)
    now = wall_ms()
    mark.create(now)
    return Clock(mark, now)

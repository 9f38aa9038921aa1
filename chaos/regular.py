"""The only way to open a file that somebody else may have put in place: nothing but a regular one, up to a bound.

A pipe would block its reader for ever, a device would never end.
"""

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path


class NotRegularError(OSError):
    """What is there is no regular file."""


class TooLargeError(OSError):
    """What is there is larger than what is read."""


def opened(path: Path) -> io.BufferedReader:
    """The file to be read, links followed. OSError when there is none, or when it is none."""
    # Nobody writes to a pipe that is opened like this, so opening does not wait for whoever might.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(errno.EINVAL, "it is no regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read(path: Path, most_bytes: int | None = None) -> bytes:
    """All of the file. OSError when it cannot be read, is no regular file, or is larger than `most_bytes`."""
    with opened(path) as file:
        if most_bytes is None:
            return file.read()
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise TooLargeError(errno.EFBIG, f"it is larger than {most_bytes} bytes", str(path))
    return data


def beginning(path: Path, most_bytes: int) -> tuple[bytes, int]:
    """(the first bytes of the file, how many there are beyond them)."""
    with opened(path) as file:
        data = file.read(most_bytes)
        return data, max(0, os.fstat(file.fileno()).st_size - len(data))


def pieces(path: Path, piece_bytes: int, overlap_bytes: int) -> Iterator[bytes]:
    """The file piece by piece, each with the end of the one before it, so that nothing shorter is cut in two."""
    before = b""
    with opened(path) as file:
        while data := file.read(piece_bytes):
            yield before + data
            before = (before + data)[-overlap_bytes:]


def sha256(path: Path) -> str:
    """SHA-256 of the file in hex, read piece by piece. OSError as `opened`."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def exists(path: Path) -> bool:
    """Whether there is anything; not where the path cannot be the name of a file."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_regular(path: Path) -> bool:
    """Whether it can be opened here, links followed."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False

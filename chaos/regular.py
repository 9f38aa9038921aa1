"""The only way to open a file that somebody else may have put in place: nothing but a regular one, up to a bound.

A pipe would block its reader for ever, a device would never end.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegularError(OSError):
    """What is there is no regular file."""


class TooLargeError(OSError):
    """What is there is larger than what is read."""


def opened(path: Path) -> BinaryIO:
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


def is_regular(path: Path) -> bool:
    """Whether it can be opened here, links followed."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False

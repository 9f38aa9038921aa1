"""What a flood has brought goes back to the system once it is over."""

import ctypes
from typing import Final

LARGE_BYTES: Final = 65_536
_MMAP_THRESHOLD: Final = -3


def give_back_large() -> None:
    """Have glibc map what is large by itself, so that it is given back when it is freed; without glibc nothing changes.

    By itself glibc raises that limit to the size of whatever was freed, and keeps what it had for texts of requests: a process
    that was once sent a hundred megabytes would stay as large.
    """
    try:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, LARGE_BYTES)
    except (AttributeError, OSError):
        return

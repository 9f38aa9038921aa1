"""System calls that Python has no function for. The standard library alone: the keeper starts with it."""

import ctypes
import os

# The module `signal` takes longer to import than all else that the keeper needs.
SIGKILL, SIGPIPE, SIGXFSZ = 9, 13, 25

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """What a system call returned, or its error as an OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def syscall(number: int, *arguments: object) -> int:
    """One system call by its number. Raises OSError."""
    return checked(int(LIBC.syscall(number, *arguments)))


def prctl(option: int, argument: int) -> int:
    """One `prctl`. Raises OSError."""
    nothing = ctypes.c_ulong(0)
    return checked(int(LIBC.prctl(option, ctypes.c_ulong(argument), nothing, nothing, nothing)))


def heed(signal: int) -> None:
    """Take back that a signal is ignored, as Python does with some."""
    LIBC.signal(signal, None)

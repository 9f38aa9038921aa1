"""Lets gates overlap, and a gate with a latency limit run with nothing beside it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(directory: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the session's lock, shared or alone, across all workers.

    A gate that must be alone keeps the turnstile while it waits, so that no new ones slip in before it.
    """
    turnstile = os.open(directory / "turnstile.lock", os.O_RDWR | os.O_CREAT, 0o600)
    lock = os.open(directory / "gates.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield
    finally:
        os.close(lock)
        os.close(turnstile)

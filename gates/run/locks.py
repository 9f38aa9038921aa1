"""Lets gates overlap, and what has a limit on latency run with nothing of the session beside it."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

_LOOK_EVERY_S: Final = 0.005


class Turn:
    """A place in the session's queue, across all workers: beside others, or alone.

    Whoever is to be alone keeps the turnstile while it waits, so that no new ones slip in before it; one that will be
    alone later keeps it from the beginning, as it would have to wait for all that had begun by then.
    """

    def __init__(self, directory: Path) -> None:
        self._turnstile = os.open(directory / "turnstile.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._lock = os.open(directory / "gates.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._is_alone = False

    def take(self, *, exclusive: bool, later: bool = False) -> None:
        """Wait for the turn: `exclusive` from the beginning, or `later`, when `alone` is asked for."""
        fcntl.flock(self._turnstile, fcntl.LOCK_EX)
        fcntl.flock(self._lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        if exclusive or not later:
            fcntl.flock(self._turnstile, fcntl.LOCK_UN)
        self._is_alone = exclusive

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be alone for a while in the middle of a shared turn; changes nothing for one that is alone anyway."""
        if self._is_alone:
            yield
            return
        await self._exchange(fcntl.LOCK_EX)
        yield
        # Whatever breaks off in between ends the turn as a whole.
        await self._exchange(fcntl.LOCK_SH)

    async def _exchange(self, kind: int) -> None:
        # Who waits holds nothing: two that both wanted to be alone would wait for each other.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        await _locked(self._turnstile, fcntl.LOCK_EX)
        await _locked(self._lock, kind)
        fcntl.flock(self._turnstile, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let others go on."""
        os.close(self._lock)
        os.close(self._turnstile)


@contextmanager
def turn(directory: Path, *, exclusive: bool, later: bool = False) -> Iterator[Turn]:
    """Hold the session's turn, shared or alone; `later` says that it will be alone for a while."""
    held = Turn(directory)
    try:
        held.take(exclusive=exclusive, later=later)
        yield held
    finally:
        held.leave()


async def _locked(descriptor: int, kind: int) -> None:
    """Wait for a lock while the rest of the event loop goes on."""
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(_LOOK_EVERY_S)
        else:
            return

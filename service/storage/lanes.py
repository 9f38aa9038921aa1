"""Who waits for the writer: what was decided or called off goes before everything else, and nobody waits for ever."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Generic, TypeVar

T = TypeVar("T")
AHEAD: Final[ContextVar[bool]] = ContextVar("ahead", default=False)
"""Whether what is submitted here and now goes before others."""


@contextmanager
def going_ahead(ahead: bool) -> Iterator[None]:
    """Let everything that is submitted meanwhile, and by tasks that begin meanwhile, go before others."""
    token = AHEAD.set(ahead)
    try:
        yield
    finally:
        AHEAD.reset(token)


class Lanes(Generic[T]):
    """Two queues between threads, of which one goes first.

    While both are full, the other one has every second batch: so who goes ahead waits for two batches at the most, and
    the others never for more than one.
    """

    def __init__(self) -> None:
        self._ahead: deque[T] = deque()
        self._others: deque[T] = deque()
        self._others_first = False
        self._closed = False
        self._changed = threading.Condition()

    def waiting(self, ahead: bool | None = None) -> int:
        """How many wait in one lane, or in both."""
        lanes = {True: (self._ahead,), False: (self._others,), None: (self._ahead, self._others)}
        return sum(map(len, lanes[ahead]))

    def put(self, item: T, ahead: bool) -> None:
        """Add one at the end of a lane."""
        with self._changed:
            (self._ahead if ahead else self._others).append(item)
            self._changed.notify()

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self, most: int) -> list[T]:
        """Wait for some, and return at most so many; none once all have been taken and nothing more comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._ahead or self._others or self._closed)
            waiting = len(self._others)
            lanes = (self._ahead, self._others)
            batch: list[T] = []
            for lane in reversed(lanes) if self._others_first else lanes:
                while lane and len(batch) < most:
                    batch.append(lane.popleft())
            self._others_first = 0 < waiting == len(self._others)
            return batch

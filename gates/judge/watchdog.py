"""Interrupts SQL that takes too long, for any number of gates with one thread."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LOOK_S: Final = 0.5


class Watchdog:
    """Calls what it was given again and again once its time is over: one query may follow the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[object, tuple[float, Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, limit_s: float, interrupt: Callable[[], None]) -> Iterator[None]:
        """Interrupt what is done inside from `limit_s` on, at most LOOK_S later."""
        token = object()
        with self._lock:
            self._watched[token] = (time.monotonic() + limit_s, interrupt)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._look, name="judge-watchdog", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._watched[token]

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_S)
            with self._lock:
                # Under the lock, so that nothing is interrupted that has just ended.
                for deadline_s, interrupt in self._watched.values():
                    if time.monotonic() > deadline_s:
                        interrupt()

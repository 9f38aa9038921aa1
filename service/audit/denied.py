"""Denied attempts in the audit log: all of them while they are few, a bounded share in a flood."""

from typing import Final

from service.clock import Clock
from service.effects import Cause, system_cause
from service.errors import Unavailable
from service.jsontypes import Json
from service.storage.store import Storage

_BURST_S: Final = 2.0


class DeniedAttempts:
    """Writes denied attempts through a token bucket of `per_s` rows a second, twice that at once.

    What the bucket held back is counted, and the count stands in the next row that is written.
    """

    def __init__(self, storage: Storage, clock: Clock, per_s: float) -> None:
        self._storage = storage
        self._clock = clock
        self._per_s = per_s
        self._capacity = max(1.0, per_s * _BURST_S)
        self._level = self._capacity
        self._filled_at_ms = clock.now_ms()
        self._suppressed = 0
        self.total = 0

    def record(self, cause: Cause, reason: str) -> None:
        """Queue an audit row for a refused attempt; never waits and never fails the refusal."""
        self.total += 1
        now_ms = self._clock.now_ms()
        self._level = min(
            self._capacity, self._level + (now_ms - self._filled_at_ms) / 1000 * self._per_s
        )
        self._filled_at_ms = now_ms
        if self._level < 1:
            self._suppressed += 1
            return
        detail: dict[str, Json] = {"reason": reason}
        if self._suppressed:
            detail["suppressed_before"] = self._suppressed
        try:
            self._storage.note(cause, detail)
        except Unavailable:
            self._suppressed += 1
            return
        self._level -= 1
        self._suppressed = 0

    def flush(self, request_id: str) -> None:
        """Write down what is still only counted; called when the gateway ends."""
        if self._suppressed:
            cause = system_cause("gate", "auth.denied.suppressed", request_id)
            self._storage.note(cause, {"suppressed_before": self._suppressed})
            self._suppressed = 0

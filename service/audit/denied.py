"""Denied attempts in the audit log: all of them while they are few, a bounded share in a flood."""

from typing import Final

import msgspec

from service.clock import Clock
from service.effects import Cause, system_cause
from service.errors import Unavailable
from service.jsontypes import Json
from service.storage.store import Storage

_BURST_S: Final = 2.0


class _Bucket(msgspec.Struct):
    """Of one reason: how many rows may be written now, as of when, and how many were held back."""

    level: float
    filled_at_ms: int
    suppressed: int = 0


class DeniedAttempts:
    """Writes denied attempts through a token bucket for each reason: `per_s` rows a second, twice that at once.

    So a flood of one kind hides no other. What a bucket held back is counted, and the count stands in the next row of
    its reason.
    """

    def __init__(self, storage: Storage, clock: Clock, per_s: float) -> None:
        self._storage = storage
        self._clock = clock
        self._per_s = per_s
        self._capacity = max(1.0, per_s * _BURST_S)
        self._buckets: dict[str, _Bucket] = {}
        self.total = 0

    def record(self, cause: Cause, reason: str) -> None:
        """Queue an audit row for a refused attempt; never waits and never fails the refusal."""
        self.total += 1
        bucket = self._filled(reason)
        if bucket.level < 1:
            bucket.suppressed += 1
            return
        detail: dict[str, Json] = {"reason": reason}
        if bucket.suppressed:
            detail["suppressed_before"] = bucket.suppressed
        try:
            self._storage.note(cause, detail)
        except Unavailable:
            bucket.suppressed += 1
            return
        bucket.level -= 1
        bucket.suppressed = 0

    def flush(self, request_id: str) -> None:
        """Write down what is still only counted; called when the gateway ends."""
        for reason, bucket in self._buckets.items():
            if bucket.suppressed:
                cause = system_cause("gate", "auth.denied.suppressed", request_id)
                detail: dict[str, Json] = {"reason": reason, "suppressed_before": bucket.suppressed}
                self._storage.note(cause, detail)
                bucket.suppressed = 0

    def _filled(self, reason: str) -> _Bucket:
        """The bucket of a reason, as full as it is by now; there are as many as there are reasons of refusal."""
        now_ms = self._clock.now_ms()
        bucket = self._buckets.setdefault(reason, _Bucket(self._capacity, now_ms))
        gained = (now_ms - bucket.filled_at_ms) / 1000 * self._per_s
        bucket.level = min(self._capacity, bucket.level + gained)
        bucket.filled_at_ms = now_ms
        return bucket

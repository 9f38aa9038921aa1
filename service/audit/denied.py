"""Denied attempts in the audit log: all of them while they are few, a bounded share in a flood."""

from typing import Final

import msgspec

from service.clock import Clock
from service.effects import Cause, system_cause
from service.errors import Unavailable
from service.jsontypes import Json
from service.storage.store import Storage

_BURST_S: Final = 2.0
_MANY: Final = 1024


class _Bucket(msgspec.Struct):
    """Of one reason and one caller: how many rows may be written now, as of when, and how many were held back."""

    level: float
    filled_at_ms: int
    suppressed: int = 0


class DeniedAttempts:
    """Writes denied attempts through a token bucket for each reason and known caller: `per_s` rows a second, twice that at once.

    So a flood of one kind hides no other, and no flood hides what a caller is refused that is known. What a bucket held
    back is counted, and the count stands in its next row.
    """

    def __init__(self, storage: Storage, clock: Clock, per_s: float) -> None:
        self._storage = storage
        self._clock = clock
        self._per_s = per_s
        self._capacity = max(1.0, per_s * _BURST_S)
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self.total = 0

    def record(self, cause: Cause, reason: str, token_id: str = "") -> None:
        """Queue an audit row for a refused attempt; never waits and never fails the refusal.

        `token_id` names the token that was presented, where there is one and it did not suffice to know the caller.
        """
        self.total += 1
        bucket = self._filled(reason, token_id or cause.actor_id)
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
        for (reason, _), bucket in self._buckets.items():
            if bucket.suppressed:
                cause = system_cause("gate", "auth.denied.suppressed", request_id)
                detail: dict[str, Json] = {"reason": reason, "suppressed_before": bucket.suppressed}
                self._storage.note(cause, detail)
                bucket.suppressed = 0

    def _filled(self, reason: str, of: str) -> _Bucket:
        """The bucket of a reason and a caller, as full as it is by now."""
        now_ms = self._clock.now_ms()
        if len(self._buckets) > _MANY:
            self._forget_full(now_ms)
        bucket = self._buckets.setdefault((reason, of), _Bucket(self._capacity, now_ms))
        gained = (now_ms - bucket.filled_at_ms) / 1000 * self._per_s
        bucket.level = min(self._capacity, bucket.level + gained)
        bucket.filled_at_ms = now_ms
        return bucket

    def _forget_full(self, now_ms: int) -> None:
        """Forget buckets that are as new ones are: each token that was ever refused has some."""
        fills_in_ms = self._capacity / self._per_s * 1000
        self._buckets = {
            key: bucket
            for key, bucket in self._buckets.items()
            if bucket.suppressed or now_ms - bucket.filled_at_ms < fills_in_ms
        }

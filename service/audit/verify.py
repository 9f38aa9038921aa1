"""Checking the audit log: is every row the one that was written, and is none missing?"""

import hmac
from pathlib import Path
from typing import Final

import apsw
import msgspec

from service.audit.chain import GENESIS, AuditEntry, row_hmac
from service.audit.checkpoints import Checkpoint, checkpoint_mac, read_checkpoints
from service.errors import StateDamaged
from service.query import each

_FROM: Final = "FROM audit WHERE seq >= ? ORDER BY seq"


class AuditReport(msgspec.Struct, frozen=True):
    """The outcome of a check. `first_bad_seq` is the first row that is wrong or missing."""

    intact: bool
    rows: int
    checkpoints: int
    last_checkpoint_seq: int
    first_bad_seq: int | None = None
    reason: str | None = None


class _Finding(msgspec.Struct, frozen=True):
    seq: int
    reason: str


def verify_audit(
    connection: apsw.Connection, checkpoints_path: Path, key: bytes, after_seq: int = 0
) -> AuditReport:
    """Check every row and every checkpoint in one read snapshot.

    Rows are numbered from 1 without a gap, each carries the HMAC of itself and of the row before
    it, and each checkpoint's row is there with the HMAC that was checkpointed. With `after_seq`,
    the sequence of a checkpoint, only that row and those after it are checked.
    """
    try:
        checkpoints = tuple(read_checkpoints(checkpoints_path))
    except StateDamaged as damaged:
        return AuditReport(False, 0, 0, 0, None, str(damaged))
    walk = _Walk(connection, after_seq, checkpoints, key)
    finding = _check_checkpoints(checkpoints, key) or walk.check()
    return AuditReport(
        intact=finding is None,
        rows=walk.rows,
        checkpoints=len(checkpoints),
        last_checkpoint_seq=max((checkpoint.seq for checkpoint in checkpoints), default=0),
        first_bad_seq=finding.seq if finding else None,
        reason=finding.reason if finding else None,
    )


def _check_checkpoints(checkpoints: tuple[Checkpoint, ...], key: bytes) -> _Finding | None:
    for checkpoint in checkpoints:
        expected = checkpoint_mac(key, checkpoint.seq, checkpoint.hmac)
        if not hmac.compare_digest(checkpoint.mac.encode(), expected.encode()):
            return _Finding(checkpoint.seq, "a checkpoint was not written with this key")
    return None


class _Walk:
    """One pass over the rows, in order, one at a time: a long log takes time and no memory."""

    def __init__(
        self,
        connection: apsw.Connection,
        after_seq: int,
        checkpoints: tuple[Checkpoint, ...],
        key: bytes,
    ) -> None:
        self.rows = 0
        self._connection = connection
        self._after_seq = after_seq
        self._has_checkpoints = bool(checkpoints)
        self._pinned = {each.seq: each.hmac for each in checkpoints if each.seq >= after_seq}
        self._key = key
        self._expected_seq = after_seq or 1
        self._previous = None if after_seq else GENESIS

    def check(self) -> _Finding | None:
        """Return the first thing that is wrong."""
        try:
            for row in each(self._connection, AuditEntry, _FROM, (self._after_seq,)):
                if reason := self._wrong(row):
                    return _Finding(self._expected_seq, reason)
                self._expected_seq, self._previous = row.seq + 1, row.hmac
                self.rows += 1
        except (apsw.Error, msgspec.ValidationError) as unreadable:
            return _Finding(self._expected_seq, f"the row cannot be read: {unreadable}")
        return self._missing()

    def _wrong(self, row: AuditEntry) -> str | None:
        if row.seq != self._expected_seq:
            return f"a row is missing: {row.seq} follows {self._expected_seq - 1}"
        if self._previous is not None and row.prev_hmac != self._previous:
            return "the row does not follow the one before it"
        if not hmac.compare_digest(row.hmac.encode(), row_hmac(self._key, row).encode()):
            return "the row is not the one that was written"
        if self._pinned.pop(row.seq, row.hmac) != row.hmac:
            return "the row is not the one that was checkpointed"
        return None

    def _missing(self) -> _Finding | None:
        if self._pinned:
            last = max(self._pinned)
            return _Finding(self._expected_seq, f"rows are missing up to the checkpoint at {last}")
        if self.rows and not self._has_checkpoints:
            reason = "there is no checkpoint, although every state begins with one"
            return _Finding(self._expected_seq - 1, reason)
        return None

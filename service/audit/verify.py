"""Checking the audit log: is every row the one that was written, and is none missing?"""

import hmac
from pathlib import Path
from typing import Final

import apsw
import msgspec

from service.audit import seals
from service.audit.chain import (
    BEFORE_ALL,
    GENESIS,
    AuditEntry,
    Head,
    read_head,
    wrong_with,
)
from service.audit.checkpoints import Checkpoint, Checkpoints, checkpoint_mac, read_checkpoints
from service.errors import StateDamaged
from service.query import each

_FROM: Final = "FROM audit WHERE seq >= ? ORDER BY seq"
RECENT_ROWS: Final = 10_000
"""How many of the newest rows every start checks."""


class AuditReport(msgspec.Struct, frozen=True):
    """The outcome of a check. `first_bad_seq` is the first row that is wrong or missing.

    `torn_checkpoint` is what is left of a checkpoint that a crash or a full disk cut off, which is no tampering.
    """

    intact: bool
    rows: int
    checkpoints: int
    last_checkpoint_seq: int
    first_bad_seq: int | None = None
    reason: str | None = None
    torn_checkpoint: str | msgspec.UnsetType = msgspec.UNSET


class _Finding(msgspec.Struct, frozen=True):
    seq: int | None
    reason: str


def verify_audit(connection: apsw.Connection, checkpoints_path: Path, key: bytes) -> AuditReport:
    """Check every row, every checkpoint, and that the state is as the rows say, in one read snapshot.

    Rows are numbered from 1 without a gap, each carries the HMAC of itself and of the row before
    it, each checkpoint's row is there with the HMAC that was checkpointed, and whatever is in the other tables has a
    row that tells of it.
    """
    return _verify(connection, checkpoints_path, key, whole=True)[0]


def verify_start(
    connection: apsw.Connection, checkpoints_path: Path, key: bytes
) -> tuple[AuditReport, Head]:
    """What a start checks, however long the log is, and the end of the chain that it found.

    The newest rows from a checkpoint on, that no other row is missing, and tokens and policies.
    """
    return _verify(connection, checkpoints_path, key, whole=False)


def verify_copy(connection: apsw.Connection, key: bytes) -> tuple[AuditReport, Head]:
    """As `verify_audit`, of a copy that stands for itself: its end is what it says, so rows may have followed it."""
    head = read_head(connection)
    end = Checkpoint(head.seq, head.hmac, checkpoint_mac(key, head.seq, head.hmac))
    return _verify_by(connection, Checkpoints((end,)), key, whole=True)


def _verify(
    connection: apsw.Connection, checkpoints_path: Path, key: bytes, *, whole: bool
) -> tuple[AuditReport, Head]:
    # Checkpoints first: their rows were committed before, so that a snapshot that is taken now has them.
    try:
        checkpoints = read_checkpoints(checkpoints_path)
    except StateDamaged as damaged:
        return AuditReport(False, 0, 0, 0, None, str(damaged)), BEFORE_ALL
    return _verify_by(connection, checkpoints, key, whole=whole)


def _verify_by(
    connection: apsw.Connection, checkpoints: Checkpoints, key: bytes, *, whole: bool
) -> tuple[AuditReport, Head]:
    with connection:
        after_seq = 0 if whole else _recent(connection, checkpoints)
        walk = _Walk(connection, after_seq, checkpoints, key)
        finding = _check_checkpoints(checkpoints.whole, key) or walk.check()
        if finding is None:
            finding = _check_state(connection, key, walk.head.seq, whole=whole)
    report = AuditReport(
        intact=finding is None,
        rows=walk.rows,
        checkpoints=len(checkpoints.whole),
        last_checkpoint_seq=checkpoints.last_seq,
        first_bad_seq=finding.seq if finding else None,
        reason=finding.reason if finding else None,
        torn_checkpoint=checkpoints.torn.decode("ascii", "backslashreplace") or msgspec.UNSET,
    )
    return report, walk.head


def _recent(connection: apsw.Connection, checkpoints: Checkpoints) -> int:
    """The newest checkpoint that has so many rows after it, or 0: all of them."""
    newest = connection.execute("SELECT max(seq) FROM audit").get or 0
    assert isinstance(newest, int)
    old = [each.seq for each in checkpoints.whole if each.seq <= newest - RECENT_ROWS]
    return max(old, default=0)


def _check_state(
    connection: apsw.Connection, key: bytes, rows: int, *, whole: bool
) -> _Finding | None:
    """Compare the state with the log, whose rows were found to be numbered up to `rows`."""
    if connection.execute("SELECT count(*) FROM audit").get != rows:
        return _Finding(None, f"rows are missing before row {rows}")
    found = seals.disagreement(connection, key, seals.ALL if whole else seals.AUTHORITY)
    if found is None and whole:
        found = seals.untold(connection)
    return None if found is None else _Finding(found.seq, found.reason)


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
        checkpoints: Checkpoints,
        key: bytes,
    ) -> None:
        self.rows = 0
        self.head = BEFORE_ALL
        self._connection = connection
        self._after_seq = after_seq
        self._checkpoints = checkpoints
        self._pinned = {each.seq: each.hmac for each in checkpoints.whole if each.seq >= after_seq}
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
                self.head = Head(row.seq, row.hmac, row.at_ms)
                self.rows += 1
        except (apsw.Error, msgspec.ValidationError) as unreadable:
            return _Finding(self._expected_seq, f"the row cannot be read: {unreadable}")
        return self._missing()

    def _wrong(self, row: AuditEntry) -> str | None:
        if reason := wrong_with(self._key, row, self._expected_seq, self._previous):
            return reason
        if self._pinned.pop(row.seq, row.hmac) != row.hmac:
            return "the row is not the one that was checkpointed"
        return None

    def _missing(self) -> _Finding | None:
        if self._pinned:
            last = max(self._pinned)
            return _Finding(self._expected_seq, f"rows are missing up to the checkpoint at {last}")
        if self._checkpoints.begun_seq > self.head.seq:
            last = self._checkpoints.begun_seq
            return _Finding(
                self._expected_seq, f"rows are missing: a checkpoint at {last} was begun"
            )
        if self.rows and not self._checkpoints.whole:
            reason = "there is no checkpoint, although every state begins with one"
            return _Finding(self._expected_seq - 1, reason)
        return None

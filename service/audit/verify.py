"""Checking the audit log: is every row the one that was written, and is none missing?"""

import hmac
from pathlib import Path
from typing import Final

import apsw
import msgspec

from service.audit import seals
from service.audit.archive import Archived, Lost, check_archive, check_kept, read_archived
from service.audit.chain import (
    BEFORE_ALL,
    NOT_AS_WRITTEN,
    AuditEntry,
    Head,
    is_as_written,
    read_head,
    written_with,
    wrong_place,
)
from service.audit.checkpoints import Checkpoint, Checkpoints, checkpoint_mac, read_checkpoints
from service.errors import StateDamaged
from service.keys import AuditKeys
from service.query import each

_FROM: Final = "FROM audit WHERE seq >= ? ORDER BY seq"
RECENT_ROWS: Final = 10_000
"""How many of the newest rows every start checks."""


class AuditReport(msgspec.Struct, frozen=True):
    """The outcome of a check. `first_bad_seq` is the first row that is wrong or missing.

    `torn_checkpoint` is what is left of a checkpoint that a crash or a full disk cut off, which is no tampering.
    Of `rows`, `archived_rows` are in the archive; those up to `elsewhere_to_seq` are in none that is here, and were not checked.
    """

    intact: bool
    rows: int
    checkpoints: int
    last_checkpoint_seq: int
    first_bad_seq: int | None = None
    reason: str | None = None
    torn_checkpoint: str | msgspec.UnsetType = msgspec.UNSET
    archived_rows: int | msgspec.UnsetType = msgspec.UNSET
    elsewhere_to_seq: int | msgspec.UnsetType = msgspec.UNSET


class _Finding(msgspec.Struct, frozen=True):
    seq: int | None
    reason: str


def verify_audit(
    connection: apsw.Connection,
    checkpoints_path: Path,
    keys: AuditKeys,
    archive: Path | None = None,
) -> AuditReport:
    """Check every row, every checkpoint, and that the state is as the rows say, in one read snapshot.

    Rows are numbered from 1 without a gap, each carries the HMAC of itself and of the row before
    it, each checkpoint's row is there with the HMAC that was checkpointed, and whatever is in the other tables has a
    row that tells of it. The oldest rows are looked for in `archive`; without one, what follows them is checked.
    """
    return _verify(connection, checkpoints_path, keys, archive, whole=True)[0]


def verify_start(
    connection: apsw.Connection, checkpoints_path: Path, keys: AuditKeys
) -> tuple[AuditReport, Head]:
    """What a start checks, however long the log is, and the end of the chain that it found.

    The newest rows from a checkpoint on, that no other row is missing, and tokens and policies.
    """
    return _verify(connection, checkpoints_path, keys, None, whole=False)


def verify_copy(connection: apsw.Connection, keys: AuditKeys) -> tuple[AuditReport, Head]:
    """As `verify_audit`, of a copy that stands for itself: its end is what it says, so rows may have followed it."""
    head = read_head(connection)
    end = Checkpoint(head.seq, head.hmac, checkpoint_mac(keys.now, head.seq, head.hmac))
    return _verify_by(connection, Checkpoints((end,)), keys, None, whole=True)


def _verify(
    connection: apsw.Connection,
    checkpoints_path: Path,
    keys: AuditKeys,
    archive: Path | None,
    *,
    whole: bool,
) -> tuple[AuditReport, Head]:
    # Checkpoints first: their rows were committed before, so that a snapshot that is taken now has them.
    try:
        checkpoints = read_checkpoints(checkpoints_path)
    except StateDamaged as damaged:
        return AuditReport(False, 0, 0, 0, None, str(damaged)), BEFORE_ALL
    return _verify_by(connection, checkpoints, keys, archive, whole=whole)


def _verify_by(
    connection: apsw.Connection,
    checkpoints: Checkpoints,
    keys: AuditKeys,
    archive: Path | None,
    *,
    whole: bool,
) -> tuple[AuditReport, Head]:
    with connection:
        check = _Check(connection, checkpoints, keys, whole)
        finding = check.log() or check.state()
    # What is archived was so before that snapshot, and nothing takes it away.
    if finding is None and whole and check.archived.to_seq:
        finding = check.archive(archive)
    report = AuditReport(
        intact=finding is None,
        rows=check.rows + (check.archived_rows or 0),
        checkpoints=len(checkpoints.whole),
        last_checkpoint_seq=checkpoints.last_seq,
        first_bad_seq=finding.seq if finding else None,
        reason=finding.reason if finding else None,
        torn_checkpoint=checkpoints.torn.decode("ascii", "backslashreplace") or msgspec.UNSET,
        archived_rows=check.archived_rows,
        elsewhere_to_seq=check.elsewhere_to_seq or msgspec.UNSET,
    )
    return report, check.head


def _recent(connection: apsw.Connection, checkpoints: Checkpoints) -> int:
    """The newest checkpoint that has so many rows after it, or 0: all of them."""
    newest = connection.execute("SELECT max(seq) FROM audit").get or 0
    assert isinstance(newest, int)
    old = [each.seq for each in checkpoints.whole if each.seq <= newest - RECENT_ROWS]
    return max(old, default=0)


def _check_checkpoints(checkpoints: tuple[Checkpoint, ...], keys: AuditKeys) -> _Finding | None:
    for checkpoint in checkpoints:
        expected = (
            checkpoint_mac(key, checkpoint.seq, checkpoint.hmac)
            for _, key in keys.of(checkpoint.seq)
        )
        if not any(hmac.compare_digest(checkpoint.mac.encode(), mac.encode()) for mac in expected):
            return _Finding(checkpoint.seq, "a checkpoint was not written with this key")
    return None


class _Check:
    """One pass over the rows, in order, one at a time: a long log takes time and no memory."""

    def __init__(
        self, connection: apsw.Connection, checkpoints: Checkpoints, keys: AuditKeys, whole: bool
    ) -> None:
        self.rows = 0
        self.head = BEFORE_ALL
        self.archived = Archived()
        self.archived_rows: int | msgspec.UnsetType = msgspec.UNSET
        self.elsewhere_to_seq = 0
        self._connection = connection
        self._checkpoints = checkpoints
        self._pinned = {each.seq: each.hmac for each in checkpoints.whole}
        self._earlier: dict[int, str] = {}
        self._keys = keys
        self._written_with = 0
        self._whole = whole
        self._expected_seq = 1
        self._previous: str | None = None

    def log(self) -> _Finding | None:
        """Return the first thing that is wrong with the rows that are here."""
        if finding := _check_checkpoints(self._checkpoints.whole, self._keys):
            return finding
        try:
            self._begin()
            for row in each(self._connection, AuditEntry, _FROM, (self._expected_seq,)):
                if reason := self._wrong(row):
                    return _Finding(self._expected_seq, reason)
                self._expected_seq, self._previous = row.seq + 1, row.hmac
                self.head = Head(row.seq, row.hmac, row.at_ms)
                self.rows += 1
        except Lost as lost:
            return _Finding(lost.seq, lost.reason)
        except (apsw.Error, msgspec.DecodeError) as unreadable:
            return _Finding(self._expected_seq, f"the row cannot be read: {unreadable}")
        return self._missing()

    def state(self) -> _Finding | None:
        """Compare the state with the log, whose newest rows were found to be numbered without a gap."""
        archived = self.archived
        expected = self.head.seq - archived.to_seq + archived.kept
        if self._connection.execute("SELECT count(*) FROM audit").get != expected:
            return _Finding(None, f"rows are missing before row {self.head.seq}")
        tables = seals.ALL if self._whole else seals.AUTHORITY
        found = seals.disagreement(self._connection, self._keys, tables)
        if found is None and self._whole:
            found = seals.untold(self._connection)
        return None if found is None else _Finding(found.seq, found.reason)

    def archive(self, path: Path | None) -> _Finding | None:
        """Follow the chain through the archive, where it is."""
        try:
            rows = check_archive(path, self._keys, self.archived, self._earlier) if path else None
        except Lost as lost:
            return _Finding(lost.seq, lost.reason)
        self.archived_rows = rows or 0
        self.elsewhere_to_seq = self.archived.to_seq - self.archived_rows
        return None

    def _begin(self) -> None:
        """Find the row to begin with: after the archived ones, or at a checkpoint when that is recent enough."""
        self.archived = archived = read_archived(self._connection, self._keys)
        check_kept(self._connection, archived)
        self._expected_seq, self._previous = archived.to_seq + 1, archived.hmac
        if self._pinned.get(archived.to_seq, archived.hmac) != archived.hmac:
            raise Lost(archived.to_seq, "the archived row is not the one that was checkpointed")
        recent = 0 if self._whole else _recent(self._connection, self._checkpoints)
        if recent > archived.to_seq:
            self._expected_seq, self._previous = recent, None
        elif self._whole:
            self._check_needed()
        self._earlier = {
            seq: row_mac for seq, row_mac in self._pinned.items() if seq < self._expected_seq
        }
        for seq in self._earlier:
            del self._pinned[seq]

    def _check_needed(self) -> None:
        rest = "FROM audit WHERE seq <= ? ORDER BY seq"
        for row in each(self._connection, AuditEntry, rest, (self.archived.to_seq,)):
            if not is_as_written(self._keys, row):
                raise Lost(row.seq, NOT_AS_WRITTEN)

    def _wrong(self, row: AuditEntry) -> str | None:
        if reason := wrong_place(row, self._expected_seq, self._previous):
            return reason
        number = written_with(self._keys, row)
        if number is None:
            return NOT_AS_WRITTEN
        if number < self._written_with:
            return "the row was written with an earlier key than the row before it"
        self._written_with = number
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

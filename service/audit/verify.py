"""Checking the audit log: is every row the one that was written, and is none missing?"""

import hmac
from pathlib import Path
from typing import Final

import apsw
import msgspec

from service.audit.chain import COLUMNS, GENESIS, AuditRow, row_hmac
from service.audit.checkpoints import Checkpoint, checkpoint_mac, read_checkpoints
from service.errors import StateDamaged

_FROM: Final = f"SELECT {COLUMNS} FROM audit WHERE seq >= ? ORDER BY seq"  # noqa: S608 - our own column names


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
    found = connection.execute(_FROM, (after_seq,))
    rows = [msgspec.convert(list(values), AuditRow) for values in found]
    finding = _check_checkpoints(checkpoints, key) or _check_rows(rows, after_seq, checkpoints, key)
    return AuditReport(
        intact=finding is None,
        rows=len(rows),
        checkpoints=len(checkpoints),
        last_checkpoint_seq=max((checkpoint.seq for checkpoint in checkpoints), default=0),
        first_bad_seq=finding.seq if finding else None,
        reason=finding.reason if finding else None,
    )


def _check_checkpoints(checkpoints: tuple[Checkpoint, ...], key: bytes) -> _Finding | None:
    for checkpoint in checkpoints:
        if not hmac.compare_digest(
            checkpoint.mac, checkpoint_mac(key, checkpoint.seq, checkpoint.hmac)
        ):
            return _Finding(checkpoint.seq, "a checkpoint was not written with this key")
    return None


def _check_rows(
    rows: list[AuditRow], after_seq: int, checkpoints: tuple[Checkpoint, ...], key: bytes
) -> _Finding | None:
    pinned = {
        checkpoint.seq: checkpoint.hmac for checkpoint in checkpoints if checkpoint.seq >= after_seq
    }
    if rows and not checkpoints:
        return _Finding(
            rows[-1].seq, "there is no checkpoint, although every state begins with one"
        )
    expected_seq, previous = (after_seq, None) if after_seq else (1, GENESIS)
    for row in rows:
        if reason := _wrong(row, expected_seq, previous, pinned.pop(row.seq, row.hmac), key):
            return _Finding(expected_seq, reason)
        expected_seq, previous = row.seq + 1, row.hmac
    if pinned:
        return _Finding(expected_seq, f"rows are missing up to the checkpoint at {max(pinned)}")
    return None


def _wrong(
    row: AuditRow, expected_seq: int, previous: str | None, pinned_hmac: str, key: bytes
) -> str | None:
    """Say what is wrong with `row`, or None. `previous` None: the row before it was not read."""
    if row.seq != expected_seq:
        return f"a row is missing: {row.seq} follows {expected_seq - 1}"
    if previous is not None and row.prev_hmac != previous:
        return "the row does not follow the one before it"
    if not hmac.compare_digest(row.hmac, row_hmac(key, row)):
        return "the row is not the one that was written"
    if row.hmac != pinned_hmac:
        return "the row is not the one that was checkpointed"
    return None

"""The audit log's chain: each row is authenticated together with the row before it.

`hmac = HMAC-SHA256(key, prev_hmac || the row's other fields)`, so editing, reordering, removing
or restamping a row needs the key. What the chain alone cannot show, rows cut off at its end, the
checkpoints show (Schneier and Kelsey, "Secure Audit Logs", 1999, discuss both).
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, cast

import apsw
import msgspec

from service.effects import Cause
from service.errors import StateDamaged
from service.jsontypes import Json
from service.keys import AuditKeys
from service.query import columns, each

GENESIS: Final = "0" * 64
NOT_AS_WRITTEN: Final = "the row is not the one that was written"
_encoder = msgspec.json.Encoder(order="sorted")


class AuditEntry(msgspec.Struct, frozen=True):
    """One row of the audit log; `detail` depends on the action."""

    seq: int
    at_ms: int
    request_id: str
    actor_id: str
    actor_role: str
    action: str
    route: str
    method: str
    target: str
    outcome: str
    effect_table: str | None
    effect_id: str | None
    detail: msgspec.Raw
    prev_hmac: str
    hmac: str


_INSERT: Final = f"INSERT INTO audit ({columns(AuditEntry)}) VALUES ({', '.join('?' * 15)})"  # noqa: S608 - our own column names


class Head(msgspec.Struct, frozen=True):
    """The end of the chain; `seq` 0 is the chain before its first row."""

    seq: int
    hmac: str
    at_ms: int


BEFORE_ALL: Final = Head(0, GENESIS, 0)


def read_head(connection: apsw.Connection) -> Head:
    """Return the chain's end as `connection` sees it, inside its transaction if it is in one."""
    newest = connection.execute("SELECT seq, hmac, at_ms FROM audit ORDER BY seq DESC LIMIT 1")
    for row in newest:
        return Head(*cast("tuple[int, str, int]", row))
    return BEFORE_ALL


def values_of(row: AuditEntry) -> "tuple[apsw.SQLiteValue, ...]":
    """What the database holds of `row`, but for its HMAC: `detail` as the text that it is."""
    *fields, detail, prev_hmac, _ = msgspec.structs.astuple(row)
    return (*fields, bytes(detail).decode(), prev_hmac)


def row_hmac(key: bytes, row: AuditEntry) -> str:
    """The HMAC that `row` must carry, in hex; `row.hmac` itself is left out."""
    fields = values_of(row)
    return hmac.digest(key, _encoder.encode(fields), hashlib.sha256).hex()


def written_with(keys: AuditKeys, row: AuditEntry) -> int | None:
    """The number of the key that `row` was written with; None when it is not as any of them would have written it."""
    for number, key in keys.of(row.seq):
        if hmac.compare_digest(row.hmac.encode(), row_hmac(key, row).encode()):
            return number
    return None


def is_as_written(keys: AuditKeys, row: AuditEntry) -> bool:
    """Whether `row` carries the HMAC that it must."""
    return written_with(keys, row) is not None


def wrong_place(row: AuditEntry, seq: int, previous: str | None) -> str | None:
    """Why `row` is not the one numbered `seq` after one with the HMAC `previous`, which is None if it is unknown."""
    if row.seq != seq:
        return f"a row is missing: {row.seq} follows {seq - 1}"
    if previous is not None and row.prev_hmac != previous:
        return "the row does not follow the one before it"
    return None


def wrong_with(keys: AuditKeys, row: AuditEntry, seq: int, previous: str | None) -> str | None:
    """What is wrong with `row`, where it stands and as it stands there; see `wrong_place`."""
    reason = wrong_place(row, seq, previous)
    if reason is None and not is_as_written(keys, row):
        return NOT_AS_WRITTEN
    return reason


def _changed(seq: int, reason: str) -> str:
    return f"the audit log was changed at row {seq} while this process ran: {reason}"


class Chain:
    """Appends to the audit log after `head`, which was checked. Used by the writer's thread only, in its transaction."""

    def __init__(self, key: bytes, head: Head) -> None:
        self._key = key
        self._head = head

    @property
    def head(self) -> Head:
        """The end of the chain: what was checked or appended here, and nothing else."""
        return self._head

    def follow(self, connection: apsw.Connection) -> None:
        """Take up what other processes have appended since. Raises StateDamaged when the log does not go on from here."""
        found = read_head(connection)
        if (found.seq, found.hmac) == (self._head.seq, self._head.hmac):
            return
        head = self._head
        try:
            for row in each(
                connection, AuditEntry, "FROM audit WHERE seq >= ? ORDER BY seq", (head.seq,)
            ):
                if row.seq == head.seq and row.hmac == head.hmac:
                    continue
                if reason := wrong_with(AuditKeys(self._key), row, head.seq + 1, head.hmac):
                    raise StateDamaged(_changed(head.seq + 1, reason))
                head = Head(row.seq, row.hmac, row.at_ms)
        except msgspec.ValidationError as unreadable:
            raise StateDamaged(
                _changed(head.seq + 1, f"it cannot be read: {unreadable}")
            ) from unreadable
        if head.seq <= self._head.seq:
            raise StateDamaged(_changed(self._head.seq, "rows are missing"))
        self._head = head

    def go_back(self, head: Head) -> None:
        """Forget what was appended after `head`, because it was rolled back."""
        self._head = head

    def append(
        self,
        connection: apsw.Connection,
        at_ms: int,
        cause: Cause,
        effect: tuple[str, str] | None,
        detail: Mapping[str, Json],
    ) -> None:
        """Write the next row; `effect` is the table and id of what was changed."""
        table, effect_id = effect or (None, None)
        row = AuditEntry(
            seq=self._head.seq + 1,
            at_ms=at_ms,
            request_id=cause.request_id,
            actor_id=cause.actor_id,
            actor_role=cause.actor_role,
            action=cause.action,
            route=cause.route,
            method=cause.method,
            target=cause.target,
            outcome=cause.outcome,
            effect_table=table,
            effect_id=effect_id,
            detail=msgspec.Raw(_encoder.encode(detail)),
            prev_hmac=self._head.hmac,
            hmac="",
        )
        digest = row_hmac(self._key, row)
        connection.execute(_INSERT, (*values_of(row), digest))
        self._head = Head(row.seq, digest, at_ms)

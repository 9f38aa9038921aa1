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
from service.jsontypes import Json
from service.query import columns

GENESIS: Final = "0" * 64
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


class Chain:
    """Appends to the audit log. Used by the writer's thread only, inside its transaction."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._head = BEFORE_ALL

    @property
    def head(self) -> Head:
        """The end of the chain as of the last `load` or `append`."""
        return self._head

    def load(self, connection: apsw.Connection) -> None:
        """Take the head from the database: at the start of a transaction and after a rollback."""
        self._head = read_head(connection)

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

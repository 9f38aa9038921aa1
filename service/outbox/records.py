"""Rows of the outbox. Each is an effect in another process that was promised and is owed until it is delivered.

Its effect key is what the receiver knows it by, so that it can be sent again until an answer comes. Rows of one aggregate
are delivered in the order of their `seq`, each after all before it are over.
"""

from enum import StrEnum
from typing import Final

import apsw
import msgspec

from service.effects import Effect, Origin
from service.jsontypes import Json
from service.query import select_one

STORE_MEMORY: Final = "memory.store"


class Status(StrEnum):
    """What a row may become; all but `pending` are final."""

    PENDING = "pending"
    DELIVERED = "delivered"
    NEEDS_OPERATOR = "needs_operator"


class NewOwed(msgspec.Struct, frozen=True):
    """What is to be owed: `payload` is JSON for the receiver, which has not seen `effect_key` before."""

    effect_key: str
    aggregate: str
    kind: str
    payload: bytes


class Owed(msgspec.Struct, frozen=True):
    """One row; `payload` is JSON for the receiver."""

    seq: int
    effect_key: str
    aggregate: str
    kind: str
    payload: msgspec.Raw
    status: Status
    created_at_ms: int
    updated_at_ms: int
    created_by: str
    request_id: str


def enqueue(connection: apsw.Connection, new: NewOwed, origin: Origin) -> Effect[None]:
    """Owe an effect; it is promised from the commit on."""
    connection.execute(
        "INSERT INTO outbox (effect_key, aggregate, kind, payload, status, created_at_ms, updated_at_ms,"
        " created_by, request_id) VALUES (?, ?, ?, ?, 'pending', ?, ?, ?, ?)",
        (
            new.effect_key,
            new.aggregate,
            new.kind,
            new.payload.decode(),
            origin.now_ms,
            origin.now_ms,
            origin.actor_id,
            origin.request_id,
        ),
    )
    detail: dict[str, Json] = {"kind": new.kind, "aggregate": new.aggregate}
    return Effect(None, "outbox", new.effect_key, detail)


def settle(
    connection: apsw.Connection, row: Owed, status: Status, now_ms: int, reason: str | None = None
) -> Effect[None]:
    """Write down what came of a pending row, on behalf of whoever caused it."""
    connection.execute(
        "UPDATE outbox SET status = ?, updated_at_ms = ? WHERE effect_key = ? AND status = 'pending'",
        (status, now_ms, row.effect_key),
    )
    detail: dict[str, Json] = {"status": status.value, "on_behalf_of": row.created_by}
    if reason is not None:
        detail["reason"] = reason
    return Effect(None, "outbox", row.effect_key, detail)


def head(connection: apsw.Connection, aggregate: str) -> Owed | None:
    """The row of an aggregate that is delivered next."""
    rest = "FROM outbox WHERE aggregate = ? AND status = 'pending' ORDER BY seq LIMIT 1"
    return select_one(connection, Owed, rest, (aggregate,))


def next_aggregate(connection: apsw.Connection, after: str) -> str | None:
    """The aggregate that comes after another among those to which something is owed."""
    statement = "SELECT min(aggregate) FROM outbox WHERE status = 'pending' AND aggregate > ?"
    found = connection.execute(statement, (after,)).get
    return None if found is None else str(found)


def count(connection: apsw.Connection, status: Status) -> int:
    """How many rows have a status."""
    found = connection.execute("SELECT count(*) FROM outbox WHERE status = ?", (status,)).get
    assert isinstance(found, int)
    return found

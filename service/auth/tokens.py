"""What can be done to tokens: issue, rotate, revoke, and take over the bootstrap tokens.

Each function is one operation inside the writer's transaction; the audit row and the copy in
memory follow from the Effect it returns. A secret is returned once and stored as a hash only.
"""

from collections.abc import Callable
from typing import TypeVar

import apsw
import msgspec

from service.auth.registry import Actor, TokenRecord, is_expired, judge, load_record, load_records
from service.auth.roles import ISSUABLE
from service.effects import Effect
from service.errors import Conflict, Invalid, NotFound
from service.ids import NewId
from service.jsontypes import Json
from service.keys import BootstrapToken, hash_secret
from service.storage.query import select

T = TypeVar("T")
Publish = Callable[[], None]
"""Told after COMMIT that tokens have changed."""


class Issued(msgspec.Struct, frozen=True):
    """A token with its secret, shown this once. `previous_expires_at_ms`: when the old secret ends."""

    id: str
    role: str
    name: str
    token: str
    expires_at_ms: int | None
    previous_expires_at_ms: int | None = None


class Token(msgspec.Struct, frozen=True):
    """A token as callers see it, without any secret. `live_secrets` is 0, 1 or 2."""

    id: str
    role: str
    name: str
    source: str
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    live_secrets: int


class _Listed(msgspec.Struct, frozen=True):
    id: str
    source: str
    created_at_ms: int


class NewToken(msgspec.Struct, frozen=True):
    """What to issue. `ttl_ms` None never expires."""

    role: str
    name: str
    ttl_ms: int | None


class Change(msgspec.Struct, frozen=True):
    """What every operation on a token needs to know."""

    now_ms: int
    request_id: str
    publish: Publish


def issue(
    connection: apsw.Connection, new: NewToken, secret: str, new_id: NewId, change: Change
) -> Effect[Issued]:
    """Insert a token with one secret. Raises Invalid for a role nobody may have."""
    if new.role not in ISSUABLE:
        raise Invalid(f"role is one of {', '.join(ISSUABLE)}")
    token_id = new_id("tok")
    expires_at_ms = None if new.ttl_ms is None else change.now_ms + new.ttl_ms
    connection.execute(
        "INSERT INTO tokens VALUES (?, ?, ?, 'issued', ?, ?, NULL, ?)",
        (token_id, new.role, new.name, change.now_ms, expires_at_ms, change.request_id),
    )
    _insert_secret(connection, token_id, hash_secret(secret), change)
    issued = Issued(token_id, new.role, new.name, f"{token_id}.{secret}", expires_at_ms)
    return _effect(token_id, issued, change, {"role": new.role, "expires_at_ms": expires_at_ms})


def rotate(
    connection: apsw.Connection, token_id: str, window_ms: int, secret: str, change: Change
) -> Effect[Issued]:
    """Add a new secret and end the present one after `window_ms`, in this one transaction.

    A secret that was already on its way out ends now, so that never more than two are live.
    Raises NotFound, and Conflict for a token that is over.
    """
    record = _existing(connection, token_id, change.now_ms)
    ends_at_ms = change.now_ms + window_ms
    live = [each for each in record.secrets if not is_expired(each.expires_at_ms, change.now_ms)]
    for position, each in enumerate(live):
        end = ends_at_ms if position == 0 else change.now_ms
        connection.execute(
            "UPDATE token_secrets SET expires_at_ms = min(coalesce(expires_at_ms, ?1), ?1), request_id = ?2 "
            "WHERE sha256 = ?3",
            (end, change.request_id, each.sha256),
        )
    _insert_secret(connection, token_id, hash_secret(secret), change)
    connection.execute(
        "UPDATE tokens SET request_id = ? WHERE id = ?", (change.request_id, token_id)
    )
    actor = record.actor
    issued = Issued(
        token_id, actor.role, actor.name, f"{token_id}.{secret}", record.expires_at_ms, ends_at_ms
    )
    return _effect(token_id, issued, change, {"previous_expires_at_ms": ends_at_ms})


def revoke(connection: apsw.Connection, token_id: str, change: Change) -> Effect[None]:
    """End all secrets of a token at once. Raises NotFound, and Conflict when it is over already."""
    _existing(connection, token_id, change.now_ms)
    connection.execute(
        "UPDATE tokens SET revoked_at_ms = ?, request_id = ? WHERE id = ?",
        (change.now_ms, change.request_id, token_id),
    )
    return _effect(token_id, None, change, {})


def adopt(connection: apsw.Connection, token: BootstrapToken, change: Change) -> Effect[None]:
    """Insert a bootstrap token as the key file has it."""
    connection.execute(
        "INSERT INTO tokens VALUES (?, ?, ?, 'bootstrap', ?, ?, NULL, ?)",
        (
            token.id,
            token.role,
            token.name,
            token.created_at_ms,
            token.expires_at_ms,
            change.request_id,
        ),
    )
    _insert_secret(connection, token.id, bytes.fromhex(token.sha256), change)
    return _effect(token.id, None, change, {"role": token.role})


def shorten(connection: apsw.Connection, token: BootstrapToken, change: Change) -> Effect[None]:
    """Take over an earlier end from the key file."""
    connection.execute(
        "UPDATE tokens SET expires_at_ms = ?, request_id = ? WHERE id = ?",
        (token.expires_at_ms, change.request_id, token.id),
    )
    return _effect(token.id, None, change, {"expires_at_ms": token.expires_at_ms})


def list_all(connection: apsw.Connection, now_ms: int) -> list[Token]:
    """Read all tokens, the oldest first, those that are over included."""
    records = load_records(connection)
    listed = select(connection, _Listed, "FROM tokens ORDER BY created_at_ms, id")
    return [_shown(row, records[row.id], now_ms) for row in listed]


def _shown(row: _Listed, record: TokenRecord, now_ms: int) -> Token:
    return Token(
        id=row.id,
        role=record.actor.role,
        name=record.actor.name,
        source=row.source,
        created_at_ms=row.created_at_ms,
        expires_at_ms=record.expires_at_ms,
        revoked_at_ms=record.revoked_at_ms,
        live_secrets=sum(
            isinstance(judge(record, each.sha256, now_ms), Actor) for each in record.secrets
        ),
    )


def _existing(connection: apsw.Connection, token_id: str, now_ms: int) -> TokenRecord:
    record = load_record(connection, token_id)
    if record is None:
        raise NotFound(f"there is no token {token_id}")
    if record.revoked_at_ms is not None or is_expired(record.expires_at_ms, now_ms):
        raise Conflict(f"the token {token_id} is revoked or expired", "token_over")
    return record


def _insert_secret(
    connection: apsw.Connection, token_id: str, sha256: bytes, change: Change
) -> None:
    connection.execute(
        "INSERT INTO token_secrets VALUES (?, ?, ?, NULL, ?)",
        (sha256, token_id, change.now_ms, change.request_id),
    )


def _effect(token_id: str, result: T, change: Change, detail: dict[str, Json]) -> Effect[T]:
    return Effect(result, "tokens", token_id, detail, change.publish)

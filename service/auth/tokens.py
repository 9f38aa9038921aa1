"""What can be done to tokens: issue, list, and take over the bootstrap tokens; `rotation` ends them.

Each function is one operation inside the writer's transaction; the audit row and the copy in
memory follow from the Effect it returns. A secret is returned once and stored as a hash only.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import apsw
import msgspec

from service.auth.roles import ISSUABLE
from service.effects import Effect
from service.errors import Invalid
from service.ids import NewId
from service.jsontypes import Json
from service.keys import BootstrapToken, hash_secret
from service.query import Bindings, select

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


# Tokens are never deleted, and new ones are the youngest: each keeps its number.
_LISTING: Final = """(
    SELECT *, (revoked_at_ms IS NULL AND coalesce(expires_at_ms > ?, true)) * (
        SELECT count(*) FROM token_secrets AS s
        WHERE s.token_id = t.id AND coalesce(s.expires_at_ms > ?, true)
    ) AS live_secrets
    FROM (SELECT row_number() OVER (ORDER BY created_at_ms, id) AS seq, * FROM tokens) AS t
)"""


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
    insert_secret(connection, token_id, hash_secret(secret), change)
    issued = Issued(token_id, new.role, new.name, f"{token_id}.{secret}", expires_at_ms)
    return effect_of(token_id, issued, change, {"role": new.role, "expires_at_ms": expires_at_ms})


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
    insert_secret(connection, token.id, bytes.fromhex(token.sha256), change)
    return effect_of(token.id, None, change, {"role": token.role})


def shorten(connection: apsw.Connection, token: BootstrapToken, change: Change) -> Effect[None]:
    """Take over an earlier end from the key file."""
    connection.execute(
        "UPDATE tokens SET expires_at_ms = ?, request_id = ? WHERE id = ?",
        (token.expires_at_ms, change.request_id, token.id),
    )
    return effect_of(token.id, None, change, {"expires_at_ms": token.expires_at_ms})


def listing(now_ms: int) -> tuple[str, Bindings]:
    """A query of all tokens at `now_ms`, and what stands in it: the oldest first, those that are over included."""
    return _LISTING, (now_ms, now_ms)


def list_all(connection: apsw.Connection, now_ms: int) -> list[Token]:
    """Read all tokens, the oldest first, those that are over included."""
    query, bindings = listing(now_ms)
    return select(connection, Token, f"FROM {query} ORDER BY seq", bindings)


def insert_secret(
    connection: apsw.Connection, token_id: str, sha256: bytes, change: Change
) -> None:
    """Give a token a secret without an end."""
    connection.execute(
        "INSERT INTO token_secrets VALUES (?, ?, ?, NULL, ?)",
        (sha256, token_id, change.now_ms, change.request_id),
    )


def effect_of(token_id: str, result: T, change: Change, detail: dict[str, Json]) -> Effect[T]:
    """What an operation on a token did; the copy in memory is read anew after COMMIT."""
    return Effect(result, "tokens", token_id, detail, change.publish)

"""Tokens in memory: the copy of the tables `tokens` and `token_secrets` that every request asks.

A record is replaced in the same commit that changed the database, after COMMIT and before the
answer. Changes made by another process (the `sonia token` commands) move a counter in a file,
which is looked at on every request, so that revoking takes effect at once whoever does it.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

import apsw
import msgspec

from service.storage.query import select, select_one

_NOBODY: Final = hashlib.sha256(b"no secret has this hash").digest()
_EPOCH_BYTES: Final = 20


class Refusal(StrEnum):
    """Why a token was not accepted. Callers are never told which; the audit log is."""

    ABSENT = "no_credentials"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - the name of a reason, not a secret
    REVOKED = "revoked"
    EXPIRED = "expired"


class Actor(msgspec.Struct, frozen=True):
    """Who calls, as the verified token says. `id` is the token's id."""

    id: str
    role: str
    name: str


class Secret(msgspec.Struct, frozen=True):
    """One secret of a token; `sha256` is 32 bytes."""

    sha256: bytes
    expires_at_ms: int | None


class TokenRecord(msgspec.Struct, frozen=True):
    """A token and its secrets, of which at most two are live."""

    actor: Actor
    expires_at_ms: int | None
    revoked_at_ms: int | None
    secrets: tuple[Secret, ...]


class Presented(msgspec.Struct, frozen=True):
    """A token as it was presented: its id and the hash of its secret. Safe to keep."""

    token_id: str
    sha256: bytes


def parse_token(text: str) -> Presented | None:
    """Split `id.secret` and hash the secret; None when it is not of that form."""
    token_id, dot, secret = text.partition(".")
    if not token_id or not dot or not secret:
        return None
    return Presented(token_id, hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest())


def is_expired(expires_at_ms: int | None, now_ms: int) -> bool:
    """A token is over from the very millisecond at which it expires."""
    return expires_at_ms is not None and now_ms >= expires_at_ms


def judge(record: TokenRecord | None, sha256: bytes, now_ms: int) -> Actor | Refusal:
    """Decide whether the secret with hash `sha256` is a live secret of `record` at `now_ms`.

    All hashes are compared, each in constant time, so that the time taken says nothing.
    """
    secrets = record.secrets if record is not None else (Secret(_NOBODY, None),)
    matching = [secret for secret in secrets if hmac.compare_digest(secret.sha256, sha256)]
    if record is None:
        return Refusal.UNKNOWN
    if not matching:
        return Refusal.WRONG_SECRET
    if record.revoked_at_ms is not None:
        return Refusal.REVOKED
    if is_expired(record.expires_at_ms, now_ms) or is_expired(matching[0].expires_at_ms, now_ms):
        return Refusal.EXPIRED
    return record.actor


class Registry:
    """All tokens by id. `verify` is called for every request that needs a role."""

    def __init__(self, epoch: "EpochFile", reload: Callable[[], dict[str, TokenRecord]]) -> None:
        self._epoch = epoch
        self._reload = reload
        self._seen = epoch.read()
        self._records = reload()

    def verify(self, presented: Presented, now_ms: int) -> Actor | Refusal:
        """Return the actor behind a presented token, or why there is none."""
        if (current := self._epoch.read()) != self._seen:
            self._records = self._reload()
            self._seen = current
        return judge(self._records.get(presented.token_id), presented.sha256, now_ms)

    def put(self, record: TokenRecord) -> None:
        """Take over a record that has just been committed; called from the writer's thread."""
        self._records = {**self._records, record.actor.id: record}

    def live_roles(self, now_ms: int) -> set[str]:
        """The roles for which at least one token works at `now_ms`."""
        return {
            record.actor.role
            for record in self._records.values()
            if any(
                isinstance(judge(record, secret.sha256, now_ms), Actor) for secret in record.secrets
            )
        }


class EpochFile:
    """A counter in a file: moved by whoever changes tokens from outside the gateway."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self) -> bytes:
        """The counter's bytes; equal bytes mean that nothing changed."""
        return os.pread(self._descriptor, _EPOCH_BYTES, 0)

    def bump(self) -> None:
        """Move the counter. The change must be committed before."""
        os.pwrite(self._descriptor, f"{int(self.read() or b'0') + 1:0{_EPOCH_BYTES}d}".encode(), 0)


class _TokenRow(msgspec.Struct, frozen=True):
    id: str
    role: str
    name: str
    expires_at_ms: int | None
    revoked_at_ms: int | None


def load_records(connection: apsw.Connection) -> dict[str, TokenRecord]:
    """Read every token."""
    return {
        row.id: _with_secrets(connection, row)
        for row in select(connection, _TokenRow, "FROM tokens")
    }


def load_record(connection: apsw.Connection, token_id: str) -> TokenRecord | None:
    """Read one token with its secrets, the newest first."""
    row = select_one(connection, _TokenRow, "FROM tokens WHERE id = ?", (token_id,))
    return _with_secrets(connection, row) if row else None


def _with_secrets(connection: apsw.Connection, row: _TokenRow) -> TokenRecord:
    newest_first = "FROM token_secrets WHERE token_id = ? ORDER BY created_at_ms DESC, expires_at_ms IS NULL DESC"
    return TokenRecord(
        actor=Actor(row.id, row.role, row.name),
        expires_at_ms=row.expires_at_ms,
        revoked_at_ms=row.revoked_at_ms,
        secrets=tuple(select(connection, Secret, newest_first, (row.id,))),
    )

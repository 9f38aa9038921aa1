"""What a token is, and whether one that is presented is live. Pure."""

import hashlib
import hmac
from typing import Final

import msgspec

from service.auth.refusals import Refusal

_NOBODY: Final = hashlib.sha256(b"no secret has this hash").digest()


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
    """A token as it was presented: its id, and the hash of its secret. Safe to keep."""

    token_id: str
    sha256: bytes


def parse_token(token: bytes) -> Presented | None:
    """Split `id.secret` and hash the secret; None when it is not of that form."""
    token_id, dot, secret = token.partition(b".")
    if not token_id or not dot or not secret:
        return None
    return Presented(token_id.decode("latin-1"), hashlib.sha256(secret).digest())


def is_expired(expires_at_ms: int | None, now_ms: int) -> bool:
    """A token is over from the very millisecond at which it expires."""
    return expires_at_ms is not None and now_ms >= expires_at_ms


class Found(msgspec.Struct, frozen=True):
    """The token that was presented, without any secret. `secret` is which of its secrets it was, the newest first; None: none."""

    actor: Actor
    expires_at_ms: int | None
    revoked_at_ms: int | None
    secret: int | None
    secret_expires_at_ms: int | None = None


def look_up(record: TokenRecord | None, sha256: bytes) -> Found | None:
    """Find the secret with hash `sha256` among those of `record`; None where there is no such token.

    All hashes are compared, each in constant time, so that the time taken says nothing.
    """
    secrets = record.secrets if record is not None else (Secret(_NOBODY, None),)
    matching = [
        place for place, secret in enumerate(secrets) if hmac.compare_digest(secret.sha256, sha256)
    ]
    if record is None:
        return None
    which = matching[0] if matching else None
    ends_at_ms = None if which is None else secrets[which].expires_at_ms
    return Found(record.actor, record.expires_at_ms, record.revoked_at_ms, which, ends_at_ms)


def decide(found: Found | None, now_ms: int) -> Actor | Refusal:
    """Decide whether what was found is live at `now_ms`."""
    if found is None:
        return Refusal.UNKNOWN
    if found.secret is None:
        return Refusal.WRONG_SECRET
    if found.revoked_at_ms is not None:
        return Refusal.REVOKED
    if is_expired(found.expires_at_ms, now_ms) or is_expired(found.secret_expires_at_ms, now_ms):
        return Refusal.EXPIRED
    return found.actor


def judge(record: TokenRecord | None, sha256: bytes, now_ms: int) -> Actor | Refusal:
    """Decide whether the secret with hash `sha256` is a live secret of `record` at `now_ms`."""
    return decide(look_up(record, sha256), now_ms)

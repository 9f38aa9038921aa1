"""How secrets end: by a rotation, after a window, or by revoking their token, at once.

Each function is one operation inside the writer's transaction, as in `tokens`.
"""

from collections.abc import Iterator

import apsw

from service.auth.credentials import TokenRecord, is_expired
from service.auth.registry import load_record
from service.auth.tokens import Change, Issued, effect_of, insert_secret
from service.effects import Effect
from service.errors import Conflict, NotFound
from service.keys import hash_secret


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
    insert_secret(connection, token_id, hash_secret(secret), change)
    connection.execute(
        "UPDATE tokens SET request_id = ? WHERE id = ?", (change.request_id, token_id)
    )
    actor = record.actor
    issued = Issued(
        token_id, actor.role, actor.name, f"{token_id}.{secret}", record.expires_at_ms, ends_at_ms
    )
    return effect_of(token_id, issued, change, {"previous_expires_at_ms": ends_at_ms})


def revoke(connection: apsw.Connection, token_id: str, change: Change) -> Effect[None]:
    """End all secrets of a token at once. Raises NotFound, and Conflict when it is over already."""
    _existing(connection, token_id, change.now_ms)
    connection.execute(
        "UPDATE tokens SET revoked_at_ms = ?, request_id = ? WHERE id = ?",
        (change.now_ms, change.request_id, token_id),
    )
    return effect_of(token_id, None, change, {})


def carry_over(
    connection: apsw.Connection, token_id: str, since: TokenRecord, change: Change
) -> Iterator[Effect[None]]:
    """End of a token, and of its secrets, what has ended earlier by its later record `since`."""
    before = connection.total_changes()
    connection.execute(
        "UPDATE tokens SET revoked_at_ms = ?1 WHERE id = ?2 AND ?1 IS NOT NULL",
        (since.revoked_at_ms, token_id),
    )
    connection.execute(
        "UPDATE tokens SET expires_at_ms = ?1 WHERE id = ?2 AND coalesce(expires_at_ms > ?1, ?1 IS NOT NULL)",
        (since.expires_at_ms, token_id),
    )
    for secret in since.secrets:
        connection.execute(
            "UPDATE token_secrets SET expires_at_ms = ?1, request_id = ?2"
            " WHERE sha256 = ?3 AND coalesce(expires_at_ms > ?1, ?1 IS NOT NULL)",
            (secret.expires_at_ms, change.request_id, secret.sha256),
        )
    if connection.total_changes() > before:
        connection.execute(
            "UPDATE tokens SET request_id = ? WHERE id = ?", (change.request_id, token_id)
        )
        yield effect_of(token_id, None, change, {"revoked": since.revoked_at_ms is not None})


def is_revoked(connection: apsw.Connection, token_id: str) -> bool:
    """Whether there is such a token, and it was revoked."""
    rest = "SELECT 1 FROM tokens WHERE id = ? AND revoked_at_ms IS NOT NULL"
    return connection.execute(rest, (token_id,)).get is not None


def _existing(connection: apsw.Connection, token_id: str, now_ms: int) -> TokenRecord:
    record = load_record(connection, token_id)
    if record is None:
        raise NotFound(f"there is no token {token_id}")
    if record.revoked_at_ms is not None or is_expired(record.expires_at_ms, now_ms):
        raise Conflict(f"the token {token_id} is revoked or expired", "token_over")
    return record

"""Tokens in memory: the copy of the tables `tokens` and `token_secrets` that every request asks.

The copy is read anew before the first decision after any change: the writer says so after COMMIT
and before the answer, and another process (the `sonia token` commands) moves a counter in a file
that is looked at on every request. So revoking takes effect at once, whoever does it.
"""

from collections.abc import Callable

import apsw
import msgspec

from service.auth.credentials import (
    Actor,
    Found,
    Presented,
    Secret,
    TokenRecord,
    decide,
    judge,
    look_up,
)
from service.auth.epoch import EpochFile
from service.auth.refusals import Refusal
from service.query import select, select_one


def never_ends(record: TokenRecord, sha256: bytes) -> bool:
    """Whether the secret with hash `sha256` works, and neither it nor its token has an end."""
    ends = [secret.expires_at_ms for secret in record.secrets if secret.sha256 == sha256]
    return record.revoked_at_ms is None and record.expires_at_ms is None and ends == [None]


class Snapshot(msgspec.Struct, frozen=True):
    """All tokens at one moment, and who was found behind which credentials since.

    A change makes a new snapshot, in which nobody was found yet: what was remembered of a token
    cannot outlive a change of it. `found` is by the credentials as they were presented, in memory
    only. Looking them up compares whole hashes under a key of this process (SipHash) before it
    compares any byte, so the time it takes says nothing about a remembered token.
    """

    records: dict[str, TokenRecord]
    found: dict[bytes, Actor]


class Registry:
    """All tokens by id. Everything but `invalidate` belongs to the event loop's thread."""

    def __init__(self, epoch: EpochFile, reload: Callable[[], dict[str, TokenRecord]]) -> None:
        self._epoch = epoch
        self._reload = reload
        self._change = self._seen_change = object()
        self._seen_epoch = epoch.count[0]
        self._snapshot = Snapshot(reload(), {})

    def invalidate(self) -> None:
        """Have the tokens read anew before the next decision; called once a change is committed."""
        # A fresh object is unlike any that was seen, whichever thread put it here and when.
        self._change = object()

    def recall(self, credentials: bytes) -> Actor | None:
        """Return who was found behind `credentials`, or None when they have to be verified."""
        if self._epoch.count[0] != self._seen_epoch or self._change is not self._seen_change:
            return None
        return self._snapshot.found.get(credentials)

    def remember(self, credentials: bytes, presented: Presented, actor: Actor) -> None:
        """Remember who was verified, unless the token or its secret has an end: that is asked anew.

        `credentials` are all that is remembered by: the caller gives of each token one spelling only.
        """
        record = self._snapshot.records.get(presented.token_id)
        if record is not None and never_ends(record, presented.sha256):
            self._snapshot.found[credentials] = actor

    def verify(self, presented: Presented, now_ms: int) -> Actor | Refusal:
        """Return the actor behind a presented token, or why there is none."""
        return decide(self.look_up(presented), now_ms)

    def look_up(self, presented: Presented) -> Found | None:
        """Return the presented token as it is now, or None where there is none."""
        return look_up(self._current().records.get(presented.token_id), presented.sha256)

    def live_roles(self, now_ms: int) -> set[str]:
        """The roles for which at least one token works at `now_ms`."""
        return live_roles(self._current().records, now_ms)

    def _current(self) -> Snapshot:
        epoch, change = self._epoch.count[0], self._change
        if epoch != self._seen_epoch or change is not self._seen_change:
            self._snapshot = Snapshot(self._reload(), {})
            self._seen_epoch, self._seen_change = epoch, change
        return self._snapshot


def live_roles(records: dict[str, TokenRecord], now_ms: int) -> set[str]:
    """The roles for which at least one token of `records` works at `now_ms`. Pure."""
    return {
        record.actor.role
        for record in records.values()
        if any(isinstance(judge(record, secret.sha256, now_ms), Actor) for secret in record.secrets)
    }


class _TokenRow(msgspec.Struct, frozen=True):
    id: str
    role: str
    name: str
    expires_at_ms: int | None
    revoked_at_ms: int | None


class _SecretRow(msgspec.Struct, frozen=True):
    token_id: str
    sha256: bytes
    expires_at_ms: int | None


def load_records(connection: apsw.Connection) -> dict[str, TokenRecord]:
    """Read every token with its secrets, the newest secret first."""
    newest_first = "FROM token_secrets ORDER BY created_at_ms DESC, expires_at_ms IS NULL DESC"
    secrets: dict[str, list[Secret]] = {}
    for each in select(connection, _SecretRow, newest_first):
        secrets.setdefault(each.token_id, []).append(Secret(each.sha256, each.expires_at_ms))
    rows = select(connection, _TokenRow, "FROM tokens")
    return {row.id: _record(row, secrets.get(row.id, [])) for row in rows}


def load_record(connection: apsw.Connection, token_id: str) -> TokenRecord | None:
    """Read one token with its secrets, the newest secret first."""
    row = select_one(connection, _TokenRow, "FROM tokens WHERE id = ?", (token_id,))
    newest_first = "FROM token_secrets WHERE token_id = ? ORDER BY created_at_ms DESC, expires_at_ms IS NULL DESC"
    return _record(row, select(connection, Secret, newest_first, (token_id,))) if row else None


def _record(row: _TokenRow, secrets: list[Secret]) -> TokenRecord:
    return TokenRecord(
        actor=Actor(row.id, row.role, row.name),
        expires_at_ms=row.expires_at_ms,
        revoked_at_ms=row.revoked_at_ms,
        secrets=tuple(secrets),
    )

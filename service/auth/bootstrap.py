"""The key file's tokens and the database's: the file can add tokens and end them, never revive one."""

from collections.abc import Callable
from functools import partial

import apsw
import msgspec

from service.auth import rotation, tokens
from service.auth.credentials import is_expired
from service.auth.registry import Registry
from service.clock import Clock
from service.effects import system_cause
from service.ids import NewId
from service.keys import BootstrapToken, KeyMaterial
from service.query import select
from service.storage import Effect, Storage


class _Known(msgspec.Struct, frozen=True):
    id: str
    expires_at_ms: int | None
    revoked_at_ms: int | None


class Differences(msgspec.Struct, frozen=True):
    """What the database has to take over from the key file."""

    adopt: tuple[BootstrapToken, ...]
    shorten: tuple[BootstrapToken, ...]
    revoke: tuple[str, ...]


def compare(
    listed: tuple[BootstrapToken, ...], connection: apsw.Connection, now_ms: int
) -> Differences:
    """Compare the key file with the bootstrap tokens in the database."""
    known = {
        row.id: row for row in select(connection, _Known, "FROM tokens WHERE source = 'bootstrap'")
    }
    ids = {token.id for token in listed}
    return Differences(
        adopt=tuple(token for token in listed if token.id not in known),
        shorten=tuple(
            token for token in listed if token.id in known and _ends_earlier(token, known[token.id])
        ),
        revoke=tuple(
            row.id for row in known.values() if row.id not in ids and not _is_over(row, now_ms)
        ),
    )


def _ends_earlier(token: BootstrapToken, known: _Known) -> bool:
    if token.expires_at_ms is None:
        return False
    return known.expires_at_ms is None or token.expires_at_ms < known.expires_at_ms


def _is_over(known: _Known, now_ms: int) -> bool:
    return known.revoked_at_ms is not None or is_expired(known.expires_at_ms, now_ms)


def adopt_bootstrap_tokens(
    storage: Storage, registry: Registry, keys: KeyMaterial, clock: Clock, new_id: NewId
) -> None:
    """Bring the database in line with the key file, each change with its audit row."""
    differences = storage.read(lambda connection: compare(keys.tokens, connection, clock.now_ms()))
    change = tokens.Change(clock.now_ms(), new_id("boot"), registry.invalidate)
    changes: list[tuple[str, str, Callable[[apsw.Connection], Effect[None]]]] = [
        *(
            ("token.adopt", each.id, partial(tokens.adopt, token=each, change=change))
            for each in differences.adopt
        ),
        *(
            ("token.shorten", each.id, partial(tokens.shorten, token=each, change=change))
            for each in differences.shorten
        ),
        *(
            ("token.revoke", each, partial(rotation.revoke, token_id=each, change=change))
            for each in differences.revoke
        ),
    ]
    for action, token_id, run in changes:
        storage.change_now(system_cause("bootstrap", action, change.request_id, token_id), run)

"""What a copy of the database that is put in place must not bring back: tokens that have ended since, and tasks that were run.

What has ended since is told by the database that it takes the place of, if that is there and its audit log whole. If not,
nobody knows, and whoever restores has to say what shall become of the copy's tokens.
"""

from collections.abc import Iterator
from typing import Final, Literal

import apsw
import msgspec

from service.audit.chain import Chain, Head, read_head
from service.audit.checkpoints import read_checkpoints
from service.audit.verify import verify_audit
from service.auth import rotation
from service.auth.credentials import TokenRecord, is_expired
from service.auth.registry import load_records
from service.auth.tokens import Change
from service.domain.tasks.claims import doubt_all
from service.effects import Effect, system_cause
from service.errors import SoniaError
from service.ids import random_id
from service.keys import AuditKeys
from service.state import StateDir
from service.storage.damage import newest
from service.storage.database import check_integrity, look_at
from service.storage.store import audited

Tokens = Literal["keep", "end"]
"""What becomes of the tokens of a copy, when nobody knows which of them have ended since."""
_UNKNOWN: Final = (
    "which tokens were revoked after it was made is not known, because the database that it takes the place of is lost or"
    " damaged; `sonia restore FILE --tokens end` ends all (then `sonia token issue`), `--tokens keep` lets revoked ones work again"
)


class Present(msgspec.Struct, frozen=True):
    """The database that a copy takes the place of: the end of its log, and its tokens."""

    head: Head
    tokens: dict[str, TokenRecord]


class Settled(msgspec.Struct, frozen=True):
    """How many tokens of a copy were ended, and tasks handed to an operator, before it took its place."""

    tokens: int = 0
    tasks: int = 0


def look_back(state: StateDir, keys: AuditKeys) -> Present | None:
    """Read the database that is in place, or was put aside from there; None when it is lost, or not as its log says."""
    place = state.root if state.database.exists() else newest(state)
    if place is None:
        return None

    def look(connection: apsw.Connection) -> Present | None:
        check_integrity(connection)
        if not verify_audit(connection, checkpoints, keys).intact:
            return None
        return Present(read_head(connection), load_records(connection))

    checkpoints = place / state.checkpoints.name
    try:
        if place != state.root and checkpoints.exists():
            # It was replaced, and another one is the last; unless that was cut short.
            if not _cut_short(state):
                return None
        else:
            checkpoints = state.checkpoints
        return look_at(place / state.database.name, look)
    except (SoniaError, apsw.Error, OSError):
        return None


def _cut_short(state: StateDir) -> bool:
    """Whether what shall be put in place never was: its log has the one checkpoint that it begins with, or none yet."""
    return state.restored.exists() and len(read_checkpoints(state.checkpoints).whole) <= 1


def settle(
    connection: apsw.Connection,
    chain: Chain,
    present: Present | None,
    tokens: Tokens | None,
    now_ms: int,
) -> Settled:
    """End in a copy what must not come back, each with its audit row. Raises SoniaError when somebody has to say what."""
    if present is not None and present.head == chain.head:
        return Settled()
    if present is None and tokens is None:
        raise SoniaError(_UNKNOWN)
    change = Change(now_ms, random_id("cli"), lambda: None)
    ended = list(_end_tokens(connection, present, tokens, change))
    doubted = doubt_all(connection, now_ms)
    for action, effect in [
        *(("token.carry_over", each) for each in ended),
        *(("task.interrupted", each) for each in doubted),
    ]:
        cause = system_cause("restore", action, change.request_id, effect.id)
        audited(connection, chain, now_ms, cause, effect)
    return Settled(len(ended), len(doubted))


def _end_tokens(
    connection: apsw.Connection, present: Present | None, tokens: Tokens | None, change: Change
) -> Iterator[Effect[None]]:
    for token_id, record in load_records(connection).items():
        if record.revoked_at_ms is not None or is_expired(record.expires_at_ms, change.now_ms):
            continue
        since = present.tokens.get(token_id) if present else None
        if since is not None:
            yield from rotation.carry_over(connection, token_id, since, change)
        elif present is None and tokens == "end":
            yield rotation.revoke(connection, token_id, change)

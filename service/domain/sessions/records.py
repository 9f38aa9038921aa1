"""Sessions: a conversation's frame, with an end that is fixed when it begins."""

from typing import Final

import apsw
import msgspec

from service.effects import Effect, Origin
from service.errors import Conflict, NotFound
from service.query import require_one, select_one


class NewSession(msgspec.Struct, frozen=True):
    """What a caller may say about a new session. `ttl_s` absent: as configured."""

    label: str = ""
    ttl_s: float | None = None


class Session(msgspec.Struct, frozen=True):
    """A session as callers see it. `status` is open, closed or expired."""

    id: str
    label: str
    status: str
    created_at_ms: int
    expires_at_ms: int
    turn_count: int
    created_by: str


SESSIONS: Final = """
    (SELECT *, CASE WHEN closed_at_ms IS NOT NULL THEN 'closed' WHEN expires_at_ms <= ?1 THEN 'expired' ELSE 'open' END
        AS status FROM sessions)
"""
"""What sessions are at the time that is bound first."""


def find(connection: apsw.Connection, session_id: str, now_ms: int) -> Session:
    """Read one session as it is at `now_ms`. Raises NotFound."""
    rest = f"FROM {SESSIONS} WHERE id = ?2"
    return require_one(connection, Session, rest, (now_ms, session_id), f"session {session_id}")


class Life(msgspec.Struct, frozen=True):
    """All that decides whether a session can still be used."""

    closed_at_ms: int | None
    expires_at_ms: int


class Facts(msgspec.Struct, frozen=True):
    """A session, if one is named and there is one, and the time at which that was looked at."""

    session: Life | None
    now_ms: int


def life_of(connection: apsw.Connection, session_id: str | None) -> Life | None:
    """Read what decides about a session; None where none is named or there is none."""
    if session_id is None:
        return None
    return select_one(connection, Life, "FROM sessions WHERE id = ?", (session_id,))


def judge_session(session_id: str | None, life: Life | None, now_ms: int) -> None:
    """Decide whether a session can be used at `now_ms`, if one is named. Raises NotFound, and Conflict when it is over. Pure."""
    if session_id is None:
        return
    if life is None:
        raise NotFound(f"there is no session {session_id}")
    if life.closed_at_ms is not None or life.expires_at_ms <= now_ms:
        over = "expired" if life.closed_at_ms is None else "closed"
        raise Conflict(f"the session {session_id} is {over}", "session_over")


def live_session(connection: apsw.Connection, session_id: str, now_ms: int) -> None:
    """Read whether a session can still be used. Raises NotFound, and Conflict when it is over."""
    judge_session(session_id, life_of(connection, session_id), now_ms)


def count_turn(connection: apsw.Connection, session_id: str, request_id: str) -> None:
    """Count one more turn of an open session."""
    connection.execute(
        "UPDATE sessions SET turn_count = turn_count + 1, request_id = ? WHERE id = ?",
        (request_id, session_id),
    )


def open_session(
    connection: apsw.Connection, session_id: str, label: str, ttl_ms: int, origin: Origin
) -> Effect[Session]:
    """Begin a session that lives for `ttl_ms`."""
    now_ms = origin.now_ms
    connection.execute(
        "INSERT INTO sessions (id, label, created_at_ms, expires_at_ms, turn_count, created_by,"
        " request_id) VALUES (?, ?, ?, ?, 0, ?, ?)",
        (session_id, label, now_ms, now_ms + ttl_ms, origin.actor_id, origin.request_id),
    )
    made = find(connection, session_id, now_ms)
    return Effect(made, "sessions", session_id, {"expires_at_ms": made.expires_at_ms})

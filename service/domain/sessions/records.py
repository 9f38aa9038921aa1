"""Sessions: a conversation's frame, with an end that is fixed when it begins."""

from typing import Final

import apsw
import msgspec

from service.effects import Effect, Origin
from service.errors import Conflict
from service.query import require_one


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


def live_session(connection: apsw.Connection, session_id: str, now_ms: int) -> Session:
    """Read one session that can still be used. Raises NotFound, and Conflict when it is over."""
    session = find(connection, session_id, now_ms)
    if session.status != "open":
        raise Conflict(f"the session {session_id} is {session.status}", "session_over")
    return session


def count_turn(connection: apsw.Connection, session_id: str, now_ms: int, request_id: str) -> None:
    """Count one more turn of an open session. Raises NotFound and Conflict."""
    live_session(connection, session_id, now_ms)
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

"""Sessions: a conversation's frame, with an end that is fixed when it begins."""

import apsw
import msgspec

from service.effects import Effect, Origin
from service.errors import Conflict, NotFound
from service.http.paging import Numbered
from service.storage.query import select_one


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


class SessionRow(Numbered, frozen=True):
    """A row of the table `sessions`."""

    id: str
    label: str
    created_at_ms: int
    expires_at_ms: int
    closed_at_ms: int | None
    turn_count: int
    created_by: str


def status_of(row: SessionRow, now_ms: int) -> str:
    """Say what state a session is in at `now_ms`."""
    if row.closed_at_ms is not None:
        return "closed"
    return "expired" if now_ms >= row.expires_at_ms else "open"


def view(row: SessionRow, now_ms: int) -> Session:
    """A row as callers see it at `now_ms`."""
    return Session(
        id=row.id,
        label=row.label,
        status=status_of(row, now_ms),
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        turn_count=row.turn_count,
        created_by=row.created_by,
    )


def find(connection: apsw.Connection, session_id: str) -> SessionRow:
    """Read one session. Raises NotFound."""
    row = select_one(connection, SessionRow, "FROM sessions WHERE id = ?", (session_id,))
    if row is None:
        raise NotFound(f"there is no session {session_id}")
    return row


def live_session(connection: apsw.Connection, session_id: str, now_ms: int) -> SessionRow:
    """Read one session that can still be used. Raises NotFound, and Conflict when it is over."""
    row = find(connection, session_id)
    if (status := status_of(row, now_ms)) != "open":
        raise Conflict(f"the session {session_id} is {status}", "session_over")
    return row


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
    made = view(find(connection, session_id), now_ms)
    return Effect(made, "sessions", session_id, {"expires_at_ms": made.expires_at_ms})


def close_session(connection: apsw.Connection, session_id: str, origin: Origin) -> Effect[None]:
    """End a session before its time. Raises NotFound and Conflict."""
    live_session(connection, session_id, origin.now_ms)
    connection.execute(
        "UPDATE sessions SET closed_at_ms = ?, request_id = ? WHERE id = ?",
        (origin.now_ms, origin.request_id, session_id),
    )
    return Effect(None, "sessions", session_id)

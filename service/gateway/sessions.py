"""Sessions: a conversation's frame, with an end that is fixed when it begins."""

import apsw
import msgspec
from litestar import Response, delete, post, route
from litestar.params import FromPath, JSONBody

from service.auth.roles import Role
from service.errors import Conflict, Invalid, NotFound
from service.gateway.call import InjectedCall
from service.http.guards import require_role
from service.http.paging import Cursor, Limit, Numbered, Page, read_page
from service.http.routing import READ
from service.storage import Effect
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


@post("/v1/sessions", guards=[require_role(Role.OPERATOR)])
async def create_session(
    call: InjectedCall, data: JSONBody[NewSession | None] = None
) -> Response[Session]:
    """Open a session; without a body, with everything as configured."""
    wanted = data or NewSession()
    settings = call.services.settings.sessions
    ttl_s = settings.ttl_s if wanted.ttl_s is None else wanted.ttl_s
    if not 0 < ttl_s <= settings.max_ttl_s:
        raise Invalid(f"ttl_s is between 0 and {settings.max_ttl_s:.15g}")
    session_id, now_ms = call.services.new_id("ses"), call.now_ms()
    expires_at_ms = now_ms + round(ttl_s * 1000)

    def insert(connection: apsw.Connection) -> Effect[Session]:
        connection.execute(
            "INSERT INTO sessions (id, label, created_at_ms, expires_at_ms, turn_count, created_by,"
            " request_id) VALUES (?, ?, ?, ?, 0, ?, ?)",
            (session_id, wanted.label, now_ms, expires_at_ms, call.actor.id, call.request_id),
        )
        made = view(find(connection, session_id), now_ms)
        return Effect(made, "sessions", session_id, {"expires_at_ms": expires_at_ms})

    made = await call.storage.change(call.cause("session.create", session_id), insert)
    return Response(made, headers={"Location": f"/v1/sessions/{session_id}"})


@route("/v1/sessions", http_method=READ, guards=[require_role(Role.OBSERVER)], sync_to_thread=False)
def list_sessions(call: InjectedCall, limit: Limit = 50, cursor: Cursor = None) -> Page[Session]:
    """List sessions, oldest first."""
    now_ms = call.now_ms()
    return call.storage.read(
        lambda connection: read_page(
            connection, SessionRow, "sessions", lambda row: view(row, now_ms), limit, cursor
        )
    )


@route(
    "/v1/sessions/{session_id:str}",
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def get_session(call: InjectedCall, session_id: FromPath[str]) -> Session:
    """Show one session."""
    return view(call.storage.read(lambda connection: find(connection, session_id)), call.now_ms())


@delete("/v1/sessions/{session_id:str}", guards=[require_role(Role.OPERATOR)])
async def close_session(call: InjectedCall, session_id: FromPath[str]) -> None:
    """Close a session before its time."""

    def close(connection: apsw.Connection) -> Effect[None]:
        now_ms = call.now_ms()
        live_session(connection, session_id, now_ms)
        connection.execute(
            "UPDATE sessions SET closed_at_ms = ?, request_id = ? WHERE id = ?",
            (now_ms, call.request_id, session_id),
        )
        return Effect(None, "sessions", session_id)

    await call.storage.change(call.cause("session.close", session_id), close)


HANDLERS = [create_session, list_sessions, get_session, close_session]

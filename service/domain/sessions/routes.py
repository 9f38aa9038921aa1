"""Sessions over HTTP."""

from functools import partial

import apsw
from litestar import Response, delete, post, route
from litestar.params import FromPath, JSONBody

from service.auth.roles import Role
from service.domain.call import InjectedCall
from service.domain.sessions import ending, records
from service.domain.sessions.records import NewSession, Session
from service.effects import Effect
from service.errors import Invalid
from service.http.guards import require_role
from service.http.idempotency import AHEAD
from service.http.paging import Cursor, Limit, Page, read_page
from service.http.routing import READ


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
    session_id = call.services.new_id("ses")
    run = partial(
        records.open_session,
        session_id=session_id,
        label=wanted.label,
        ttl_ms=round(ttl_s * 1000),
        origin=call.origin(),
    )
    made = await call.storage.change(call.cause("session.create", session_id), run)
    return Response(made, headers={"Location": f"/v1/sessions/{session_id}"})


@route("/v1/sessions", http_method=READ, guards=[require_role(Role.OBSERVER)], sync_to_thread=False)
def list_sessions(call: InjectedCall, limit: Limit = 50, cursor: Cursor = None) -> Page[Session]:
    """List sessions, oldest first."""
    now_ms = call.now_ms()
    return call.storage.read(
        lambda connection: read_page(
            connection, Session, records.SESSIONS, limit, cursor, (now_ms,)
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
    now_ms = call.now_ms()
    return call.storage.read(lambda connection: records.find(connection, session_id, now_ms))


@delete("/v1/sessions/{session_id:str}", guards=[require_role(Role.OPERATOR)], opt=AHEAD)
async def close_session(call: InjectedCall, session_id: FromPath[str]) -> None:
    """Close a session before its time."""

    def close(connection: apsw.Connection) -> Effect[None]:
        return ending.close_session(connection, session_id, call.origin())

    await call.storage.change(call.cause("session.close", session_id), close)


HANDLERS = [create_session, list_sessions, get_session, close_session]

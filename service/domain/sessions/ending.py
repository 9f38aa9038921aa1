"""The end of a session: what waits for a decision in it ends with it, and so do the tasks that wait for that."""

import apsw

from service.domain.confirmations.records import expire_of_session
from service.domain.sessions.records import live_session
from service.effects import Effect, Origin


def close_session(connection: apsw.Connection, session_id: str, origin: Origin) -> Effect[None]:
    """End a session before its time. Raises NotFound and Conflict.

    One that reaches its end by itself takes nothing along: no confirmation in it lives longer.
    """
    live_session(connection, session_id, origin.now_ms)
    connection.execute(
        "UPDATE sessions SET closed_at_ms = ?, request_id = ? WHERE id = ?",
        (origin.now_ms, origin.request_id, session_id),
    )
    ended = expire_of_session(connection, session_id, origin)
    return Effect(None, "sessions", session_id, also=ended)

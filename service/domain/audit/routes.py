"""The audit log over HTTP, whether it is intact, and what has happened since."""

from functools import partial
from typing import Annotated, Final

import msgspec
from litestar import route
from litestar.params import QueryParameter

from service.audit.chain import AuditEntry
from service.audit.verify import AuditReport, verify_audit
from service.auth.roles import Role
from service.domain.call import InjectedCall
from service.http.guards import require_role
from service.http.paging import Cursor, Limit, Page, read_page
from service.http.routing import READ
from service.query import select

MAX_SEQ: Final = (1 << 63) - 1
After = Annotated[int, QueryParameter(name="after", ge=0, le=MAX_SEQ)]


class Event(msgspec.Struct, frozen=True):
    """Something that changed: `type` is the audit row's action, `table` and `id` what it changed."""

    seq: int
    at_ms: int
    type: str
    table: str
    id: str
    actor_id: str
    request_id: str


_EVENTS: Final = """
    FROM (SELECT *, action AS type, effect_table AS "table", effect_id AS id FROM audit)
    WHERE seq > ? AND effect_table IS NOT NULL ORDER BY seq LIMIT ?
"""


@route("/v1/audit", http_method=READ, guards=[require_role(Role.OBSERVER)], sync_to_thread=False)
def list_audit(call: InjectedCall, limit: Limit = 50, cursor: Cursor = None) -> Page[AuditEntry]:
    """List audit rows, oldest first."""
    return call.storage.read(
        lambda connection: read_page(connection, AuditEntry, "audit", limit, cursor)
    )


@route("/v1/audit/verify", http_method=READ, guards=[require_role(Role.OBSERVER)])
async def verify(call: InjectedCall) -> AuditReport:
    """Check the whole chain and all checkpoints."""
    check = partial(
        verify_audit,
        checkpoints_path=call.services.state.checkpoints,
        key=call.services.keys.audit_key_bytes(),
    )
    return await call.storage.read_apart(check)


@route("/v1/events", http_method=READ, guards=[require_role(Role.OBSERVER)], sync_to_thread=False)
def list_events(call: InjectedCall, after: After = 0, limit: Limit = 50) -> Page[Event]:
    """List what changed after the event numbered `after`, in order."""
    events = call.storage.read(
        lambda connection: select(connection, Event, _EVENTS, (after, limit))
    )
    following = str(events[-1].seq) if len(events) == limit else None
    return Page(tuple(events), following)


HANDLERS = [list_audit, verify, list_events]

"""The audit log over HTTP, whether it is intact, and what has happened since."""

from functools import partial
from typing import Annotated

import msgspec
from litestar import route
from litestar.params import QueryParameter

from service.audit.verify import AuditReport, verify_audit
from service.auth.roles import Role
from service.domain.call import InjectedCall
from service.http.guards import require_role
from service.http.paging import Cursor, Limit, Numbered, Page, read_page
from service.http.routing import READ
from service.storage.query import select

After = Annotated[int, QueryParameter(name="after", ge=0)]


class AuditEntry(msgspec.Struct, frozen=True):
    """One row of the audit log; `detail` depends on the action."""

    seq: int
    at_ms: int
    request_id: str
    actor_id: str
    actor_role: str
    action: str
    route: str
    method: str
    target: str
    outcome: str
    effect_table: str | None
    effect_id: str | None
    detail: msgspec.Raw
    prev_hmac: str
    hmac: str


class AuditRecord(Numbered, frozen=True):
    """A row of the table `audit`; `detail` is JSON text."""

    at_ms: int
    request_id: str
    actor_id: str
    actor_role: str
    action: str
    route: str
    method: str
    target: str
    outcome: str
    effect_table: str | None
    effect_id: str | None
    detail: str
    prev_hmac: str
    hmac: str


class Event(msgspec.Struct, frozen=True):
    """Something that changed: `type` is the audit row's action, `table` and `id` what it changed."""

    seq: int
    at_ms: int
    type: str
    table: str
    id: str
    actor_id: str
    request_id: str


class EventRow(Numbered, frozen=True):
    """The columns of the audit log that make an event."""

    at_ms: int
    action: str
    effect_table: str
    effect_id: str
    actor_id: str
    request_id: str


def entry(row: AuditRecord) -> AuditEntry:
    """A row as callers see it."""
    fields = msgspec.structs.asdict(row)
    return AuditEntry(**{**fields, "detail": msgspec.Raw(row.detail.encode())})


def event(row: EventRow) -> Event:
    """A row as an event."""
    return Event(
        seq=row.seq,
        at_ms=row.at_ms,
        type=row.action,
        table=row.effect_table,
        id=row.effect_id,
        actor_id=row.actor_id,
        request_id=row.request_id,
    )


@route("/v1/audit", http_method=READ, guards=[require_role(Role.OBSERVER)], sync_to_thread=False)
def list_audit(call: InjectedCall, limit: Limit = 50, cursor: Cursor = None) -> Page[AuditEntry]:
    """List audit rows, oldest first."""
    return call.storage.read(
        lambda connection: read_page(connection, AuditRecord, "audit", entry, limit, cursor)
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
    rows = call.storage.read(
        lambda connection: select(
            connection,
            EventRow,
            "FROM audit WHERE seq > ? AND effect_table IS NOT NULL ORDER BY seq LIMIT ?",
            (after, limit),
        )
    )
    following = str(rows[-1].seq) if len(rows) == limit else None
    return Page(tuple(event(row) for row in rows), following)


HANDLERS = [list_audit, verify, list_events]

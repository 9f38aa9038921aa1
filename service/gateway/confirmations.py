"""Confirmations: a tool call waits for a decision, and exactly one decision is taken.

The arguments were made canonical once, when the call was made; their bytes are stored, their hash
is what the operator approves, and the stored bytes are what runs.
"""

import hashlib
from functools import partial
from typing import Final

import apsw
import msgspec
from litestar import route
from litestar.params import FromPath

from service.auth.roles import Role
from service.effects import system_cause
from service.errors import Conflict, NotFound
from service.gateway.call import Call, InjectedCall
from service.http.guards import require_role
from service.http.paging import Cursor, Limit, Numbered, Page, read_page
from service.http.routing import READ
from service.ids import NewId
from service.jsontypes import Json
from service.storage import Cause, Effect, Storage
from service.storage.query import select, select_one

SYSTEM: Final = "system:confirmations"


class ConfirmationView(msgspec.Struct, frozen=True):
    """A waiting or decided call. `expires_in_ms` counts down while it is pending."""

    id: str
    tool: str
    arguments: msgspec.Raw
    args_sha256: str
    status: str
    created_at_ms: int
    expires_at_ms: int
    expires_in_ms: int
    decided_at_ms: int | None
    decided_by: str | None
    created_by: str


class Confirmation(Numbered, frozen=True):
    """A row of the table `confirmations`; `args` are the canonical bytes."""

    id: str
    tool: str
    args: bytes
    args_sha256: str
    status: str
    created_at_ms: int
    expires_at_ms: int
    decided_at_ms: int | None
    decided_by: str | None
    created_by: str


class NewConfirmation(msgspec.Struct, frozen=True):
    """A call that is to wait; `args` are its canonical bytes, as they will run."""

    id: str
    tool: str
    args: bytes
    session_id: str | None
    ttl_ms: int


class Decided(msgspec.Struct, frozen=True):
    """Who decided, when, on which request."""

    by: str
    at_ms: int
    request_id: str


class Overdue(Exception):
    """The confirmation expired before it was decided."""


def is_expired(row: Confirmation, now_ms: int) -> bool:
    """A pending confirmation is over from the very millisecond at which it expires."""
    return now_ms >= row.expires_at_ms


def view(row: Confirmation, now_ms: int) -> ConfirmationView:
    """A row as callers see it at `now_ms`."""
    pending = row.status == "pending"
    expired = pending and is_expired(row, now_ms)
    return ConfirmationView(
        id=row.id,
        tool=row.tool,
        arguments=msgspec.Raw(row.args),
        args_sha256=row.args_sha256,
        status="expired" if expired else row.status,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        expires_in_ms=max(0, row.expires_at_ms - now_ms) if pending else 0,
        decided_at_ms=row.decided_at_ms,
        decided_by=row.decided_by,
        created_by=row.created_by,
    )


def find(connection: apsw.Connection, confirmation_id: str) -> Confirmation:
    """Read one confirmation. Raises NotFound."""
    row = select_one(
        connection, Confirmation, "FROM confirmations WHERE id = ?", (confirmation_id,)
    )
    if row is None:
        raise NotFound(f"there is no confirmation {confirmation_id}")
    return row


def create_confirmation(
    connection: apsw.Connection, new: NewConfirmation, call: Call
) -> Effect[Confirmation]:
    """Store a call that waits for a decision; its time to live counts from now on."""
    now_ms = call.now_ms()
    connection.execute(
        "INSERT INTO confirmations (id, tool, args, args_sha256, session_id, status, created_at_ms,"
        " expires_at_ms, created_by, request_id) VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?)",
        (
            new.id,
            new.tool,
            new.args,
            hashlib.sha256(new.args).hexdigest(),
            new.session_id,
            now_ms,
            now_ms + new.ttl_ms,
            call.actor.id,
            call.request_id,
        ),
    )
    made = find(connection, new.id)
    detail: dict[str, Json] = {"args_sha256": made.args_sha256, "expires_at_ms": made.expires_at_ms}
    return Effect(made, "confirmations", made.id, detail)


def find_in_time(connection: apsw.Connection, confirmation_id: str, now_ms: int) -> Confirmation:
    """Read a confirmation that was not left waiting for too long. Raises NotFound and Overdue."""
    row = find(connection, confirmation_id)
    if row.status == "pending" and is_expired(row, now_ms):
        raise Overdue
    return row


def settle(
    connection: apsw.Connection, confirmation_id: str, status: str, decided: Decided
) -> None:
    """Compare and swap: only the first decision finds the confirmation pending. Raises Conflict."""
    connection.execute(
        "UPDATE confirmations SET status = ?, decided_at_ms = ?, decided_by = ?, request_id = ?"
        " WHERE id = ? AND status = 'pending'",
        (status, decided.at_ms, decided.by, decided.request_id, confirmation_id),
    )
    if connection.changes() != 1:
        raise Conflict(f"the confirmation {confirmation_id} is decided already", "already_decided")


def expire(connection: apsw.Connection, confirmation_id: str, decided: Decided) -> Effect[None]:
    """Settle a confirmation as expired."""
    settle(connection, confirmation_id, "expired", decided)
    return Effect(None, "confirmations", confirmation_id)


def expire_cause(request_id: str, confirmation_id: str) -> Cause:
    """Expiring is SONIA's own doing, whoever's request brought it to light."""
    return system_cause("confirmations", "confirmation.expire", request_id, confirmation_id)


@route(
    "/v1/confirmations",
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def list_confirmations(
    call: InjectedCall, limit: Limit = 50, cursor: Cursor = None
) -> Page[ConfirmationView]:
    """List confirmations, oldest first."""
    now_ms = call.now_ms()
    return call.storage.read(
        lambda connection: read_page(
            connection,
            Confirmation,
            "confirmations",
            lambda row: view(row, now_ms),
            limit,
            cursor,
        )
    )


@route(
    "/v1/confirmations/{confirmation_id:str}",
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def get_confirmation(call: InjectedCall, confirmation_id: FromPath[str]) -> ConfirmationView:
    """Show one confirmation."""
    row = call.storage.read(lambda connection: find(connection, confirmation_id))
    return view(row, call.now_ms())


def expire_overdue(storage: Storage, now_ms: int, new_id: NewId) -> int:
    """Expire what ran out while nobody looked, each with its audit row; return how many.

    Called at start-up, before anything can be approved.
    """
    overdue = storage.read(
        lambda connection: select(
            connection,
            Confirmation,
            "FROM confirmations WHERE status = 'pending' AND expires_at_ms <= ? ORDER BY seq",
            (now_ms,),
        )
    )
    decided = Decided(SYSTEM, now_ms, new_id("boot"))
    for row in overdue:
        run = partial(expire, confirmation_id=row.id, decided=decided)
        storage.change_now(expire_cause(decided.request_id, row.id), run)
    return len(overdue)


HANDLERS = [list_confirmations, get_confirmation]

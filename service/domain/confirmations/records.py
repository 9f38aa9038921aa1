"""Confirmations: a tool call waits for a decision, and exactly one decision is taken.

The arguments were made canonical once, when the call was made; their bytes are stored, their hash
is what the operator approves, and the stored bytes are what runs.
"""

import hashlib
from functools import partial
from typing import Final

import apsw
import msgspec

from service.domain.policies.records import decision
from service.domain.tools.records import ToolRun, begin_run
from service.effects import Cause, Effect, Origin, system_cause
from service.errors import Conflict, Forbidden
from service.ids import NewId
from service.jsontypes import Json
from service.messages.tool_table import TOOLS
from service.query import require_one, select
from service.storage import Storage

SYSTEM: Final = "system:confirmations"


class Confirmation(msgspec.Struct, frozen=True):
    """A waiting or decided call. `arguments` are the canonical bytes; `expires_in_ms` counts down while it is pending."""

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


CONFIRMATIONS: Final = """
    (SELECT *, args AS arguments, iif(was = 'pending' AND left_ms <= 0, 'expired', was) AS status,
        iif(was = 'pending', max(0, left_ms), 0) AS expires_in_ms
    FROM (SELECT seq, id, tool, args, args_sha256, status AS was, created_at_ms, expires_at_ms,
        expires_at_ms - ?1 AS left_ms, decided_at_ms, decided_by, created_by FROM confirmations))
"""
"""What confirmations are at the time that is bound first: one is over from the very millisecond at which it expires."""


class NewConfirmation(msgspec.Struct, frozen=True):
    """A call that is to wait; `args` are its canonical bytes, as they will run."""

    id: str
    tool: str
    args: bytes
    session_id: str | None
    ttl_ms: int


class Overdue(Exception):
    """The confirmation expired before it was decided."""


def find(connection: apsw.Connection, confirmation_id: str, now_ms: int) -> Confirmation:
    """Read one confirmation as it is at `now_ms`. Raises NotFound."""
    rest, what = f"FROM {CONFIRMATIONS} WHERE id = ?2", f"confirmation {confirmation_id}"
    return require_one(connection, Confirmation, rest, (now_ms, confirmation_id), what)


def create_confirmation(
    connection: apsw.Connection, new: NewConfirmation, origin: Origin
) -> Effect[Confirmation]:
    """Store a call that waits for a decision; its time to live counts from now on."""
    connection.execute(
        "INSERT INTO confirmations (id, tool, args, args_sha256, session_id, status, created_at_ms,"
        " expires_at_ms, created_by, request_id) VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?)",
        (
            new.id,
            new.tool,
            new.args,
            hashlib.sha256(new.args).hexdigest(),
            new.session_id,
            origin.now_ms,
            origin.now_ms + new.ttl_ms,
            origin.actor_id,
            origin.request_id,
        ),
    )
    made = find(connection, new.id, origin.now_ms)
    detail: dict[str, Json] = {"args_sha256": made.args_sha256, "expires_at_ms": made.expires_at_ms}
    return Effect(made, "confirmations", made.id, detail)


def find_in_time(connection: apsw.Connection, confirmation_id: str, now_ms: int) -> Confirmation:
    """Read a confirmation that was not left waiting for too long. Raises NotFound and Overdue."""
    row = find(connection, confirmation_id, now_ms)
    if row.status == "expired" and row.decided_at_ms is None:
        raise Overdue
    return row


def settle(connection: apsw.Connection, confirmation_id: str, status: str, origin: Origin) -> None:
    """Compare and swap: only the first decision finds the confirmation pending. Raises Conflict."""
    connection.execute(
        "UPDATE confirmations SET status = ?, decided_at_ms = ?, decided_by = ?, request_id = ?"
        " WHERE id = ? AND status = 'pending'",
        (status, origin.now_ms, origin.actor_id, origin.request_id, confirmation_id),
    )
    if connection.changes() != 1:
        raise Conflict(f"the confirmation {confirmation_id} is decided already", "already_decided")


def deny(connection: apsw.Connection, confirmation_id: str, origin: Origin) -> Effect[None]:
    """Decide against a call. Raises NotFound, Overdue and Conflict."""
    row = find_in_time(connection, confirmation_id, origin.now_ms)
    settle(connection, row.id, "denied", origin)
    return Effect(None, "confirmations", row.id, {"args_sha256": row.args_sha256})


def approve(
    connection: apsw.Connection,
    confirmation_id: str,
    args_sha256: str,
    run_id: str,
    origin: Origin,
) -> Effect[ToolRun]:
    """Decide for a call and record that its run begins, in one transaction.

    Raises NotFound, Overdue, Forbidden by the policy of now, and Conflict for other arguments than the stored ones and
    for a confirmation that is decided.
    """
    row = find_in_time(connection, confirmation_id, origin.now_ms)
    if args_sha256 != row.args_sha256:
        raise Conflict("args_sha256 is not the hash of the stored arguments", "args_mismatch")
    if row.tool not in TOOLS or decision(connection, TOOLS[row.tool].safety.value) == "deny":
        raise Forbidden(f"the policy denies {row.tool} by now", "policy_denied")
    settle(connection, row.id, "approved", origin)
    run = ToolRun(
        run_id=run_id,
        tool=row.tool,
        arguments_json=bytes(row.arguments).decode(),
        approval=f"confirmation:{row.id}",
        confirmation_id=row.id,
    )
    begin_run(connection, run, origin)
    return Effect(run, "confirmations", row.id, {"args_sha256": row.args_sha256, "run": run.run_id})


def expire(connection: apsw.Connection, confirmation_id: str, origin: Origin) -> Effect[None]:
    """Settle a confirmation as expired."""
    settle(connection, confirmation_id, "expired", origin)
    return Effect(None, "confirmations", confirmation_id)


def expire_cause(request_id: str, confirmation_id: str) -> Cause:
    """Expiring is SONIA's own doing, whoever's request brought it to light."""
    return system_cause("confirmations", "confirmation.expire", request_id, confirmation_id)


def expire_overdue(storage: Storage, now_ms: int, new_id: NewId) -> int:
    """Expire what ran out while nobody looked, each with its audit row; return how many.

    Called at start-up, before anything can be approved.
    """
    overdue = storage.read(
        lambda connection: select(
            connection,
            Confirmation,
            f"FROM {CONFIRMATIONS} WHERE status = 'expired' AND decided_at_ms IS NULL ORDER BY seq",
            (now_ms,),
        )
    )
    origin = Origin(SYSTEM, new_id("boot"), now_ms)
    for row in overdue:
        run = partial(expire, confirmation_id=row.id, origin=origin)
        storage.change_now(expire_cause(origin.request_id, row.id), run)
    return len(overdue)

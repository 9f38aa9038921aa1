"""Confirmations: a tool call waits for a decision, and exactly one decision is taken.

The arguments were made canonical once, when the call was made; their bytes are stored, their hash
is what the operator approves, and the stored bytes are what runs. What is decided about a task's confirmation is decided
about the task in the same transaction.
"""

import hashlib
from functools import partial
from typing import Final

import apsw
import msgspec

from service.domain.policies.records import decision
from service.domain.sessions.records import Life, life_of
from service.domain.tasks.records import State, attribute, changed, end, state_of, take
from service.domain.tools.records import ToolRun, begin_run
from service.effects import Cause, Effect, Origin, system_cause
from service.errors import Conflict, Forbidden
from service.ids import NewId
from service.jsontypes import Json
from service.messages.tool_table import TOOLS
from service.query import require_one
from service.storage import Storage

SYSTEM: Final = "system:confirmations"
EXPIRED: Final = "confirmation_expired"


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
    task_id: str | None


CONFIRMATIONS: Final = """
    (SELECT *, args AS arguments, iif(was = 'pending' AND left_ms <= 0, 'expired', was) AS status,
        iif(was = 'pending', max(0, left_ms), 0) AS expires_in_ms
    FROM (SELECT seq, id, tool, args, args_sha256, status AS was, created_at_ms, expires_at_ms,
        expires_at_ms - ?1 AS left_ms, decided_at_ms, decided_by, created_by, task_id FROM confirmations))
"""
"""What confirmations are at the time that is bound first: one is over from the very millisecond at which it expires."""


class NewConfirmation(msgspec.Struct, frozen=True):
    """A call that is to wait, for at most `ttl_ms`; `args` are its canonical bytes, as they will run."""

    id: str
    tool: str
    args: bytes
    session_id: str | None
    ttl_ms: int
    task_id: str | None = None


class Overdue(Exception):
    """The confirmation expired before it was decided."""


def find(connection: apsw.Connection, confirmation_id: str, now_ms: int) -> Confirmation:
    """Read one confirmation as it is at `now_ms`. Raises NotFound."""
    rest, what = f"FROM {CONFIRMATIONS} WHERE id = ?2", f"confirmation {confirmation_id}"
    return require_one(connection, Confirmation, rest, (now_ms, confirmation_id), what)


def end_of(new: NewConfirmation, now_ms: int, session: Life | None) -> int:
    """When a call that waits from `now_ms` on has waited for too long: with its session at the latest. Pure."""
    ends_at_ms = now_ms + new.ttl_ms
    return ends_at_ms if session is None else min(ends_at_ms, session.expires_at_ms)


def create_confirmation(
    connection: apsw.Connection, new: NewConfirmation, origin: Origin
) -> Effect[Confirmation]:
    """Store a call that waits for a decision; its time to live counts from now on, and ends with its session's."""
    expires_at_ms = end_of(new, origin.now_ms, life_of(connection, new.session_id))
    connection.execute(
        "INSERT INTO confirmations (id, tool, args, args_sha256, session_id, task_id, status, created_at_ms,"
        " expires_at_ms, created_by, request_id) VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?)",
        (
            new.id,
            new.tool,
            new.args,
            hashlib.sha256(new.args).hexdigest(),
            new.session_id,
            new.task_id,
            origin.now_ms,
            expires_at_ms,
            origin.actor_id,
            origin.request_id,
        ),
    )
    made = find(connection, new.id, origin.now_ms)
    detail: dict[str, Json] = {"args_sha256": made.args_sha256, "expires_at_ms": made.expires_at_ms}
    return Effect(made, "confirmations", made.id, detail)


def find_in_time(connection: apsw.Connection, confirmation_id: str, now_ms: int) -> Confirmation:
    """Read a confirmation that was not left waiting for too long. Raises NotFound, Overdue, and Conflict once that is settled."""
    row = find(connection, confirmation_id, now_ms)
    if row.status != "expired":
        return row
    if row.decided_at_ms is None:
        raise Overdue
    raise Conflict(f"the confirmation {confirmation_id} has expired", EXPIRED)


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
    detail: dict[str, Json] = {"args_sha256": row.args_sha256}
    return Effect(
        None, "confirmations", row.id, detail, also=_cancel(connection, row, "denied", origin)
    )


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
    task = _resume(connection, row.task_id, origin)
    run = ToolRun(
        run_id=run_id,
        tool=row.tool,
        arguments_json=bytes(row.arguments).decode(),
        approval=f"confirmation:{row.id}",
        confirmation_id=row.id,
        task=task,
    )
    begin_run(connection, run, origin)
    detail: dict[str, Json] = {"args_sha256": row.args_sha256, "run": run.run_id}
    also = () if task is None else (changed(task, "running", {"run": run.run_id}),)
    return Effect(run, "confirmations", row.id, detail, also=also)


def expire(connection: apsw.Connection, confirmation_id: str, origin: Origin) -> Effect[None]:
    """Settle a confirmation as expired. Raises NotFound and Conflict."""
    row = find(connection, confirmation_id, origin.now_ms)
    settle(connection, confirmation_id, "expired", origin)
    return Effect(None, "confirmations", row.id, also=_cancel(connection, row, "expired", origin))


def expire_of_session(
    connection: apsw.Connection, session_id: str, origin: Origin
) -> tuple[Effect[None], ...]:
    """Settle all that waits in a session as expired: nobody will decide on it any more."""
    waiting = connection.execute(
        "SELECT id FROM confirmations WHERE session_id = ? AND status = 'pending' ORDER BY seq",
        (session_id,),
    ).fetchall()
    effects: list[Effect[None]] = []
    for (confirmation_id,) in waiting:
        expired = expire(connection, str(confirmation_id), origin)
        effects += [msgspec.structs.replace(expired, also=()), *expired.also]
    return tuple(effects)


def settle_of_task(
    connection: apsw.Connection, task_id: str, status: str, origin: Origin
) -> tuple[Effect[None], ...]:
    """Settle what a task waits for, if it waits, because the task is over."""
    waiting = connection.execute(
        "SELECT id FROM confirmations WHERE task_id = ? AND status = 'pending'", (task_id,)
    ).fetchall()
    for (confirmation_id,) in waiting:
        settle(connection, str(confirmation_id), status, origin)
    return tuple(Effect(None, "confirmations", str(each), {"task": task_id}) for (each,) in waiting)


def _resume(connection: apsw.Connection, task_id: str | None, origin: Origin) -> State | None:
    """Claim the task whose question is answered; None for a call that is no task's. Raises Conflict when it is over."""
    if task_id is None:
        return None
    was = state_of(connection, task_id)
    if was.status != "queued":
        raise Conflict(f"the task {task_id} is {was.status}", "task_over")
    attribute(connection, task_id, origin)
    return take(connection, was, origin.now_ms)


def _cancel(
    connection: apsw.Connection, row: Confirmation, decided: str, origin: Origin
) -> tuple[Effect[None], ...]:
    """Call the task off that waits for a decision which was taken against it."""
    if row.task_id is None:
        return ()
    was = state_of(connection, row.task_id)
    if was.status != "queued":
        return ()
    outcome = {"confirmation_id": row.id, "reason": f"confirmation_{decided}"}
    end(connection, was, "cancelled", msgspec.json.encode(outcome), origin.now_ms)
    attribute(connection, row.task_id, origin)
    return (changed(was, "cancelled", {"confirmation": row.id, "reason": outcome["reason"]}),)


def expire_cause(request_id: str, confirmation_id: str) -> Cause:
    """Expiring is SONIA's own doing, whoever's request brought it to light."""
    return system_cause("confirmations", "confirmation.expire", request_id, confirmation_id)


def overdue(connection: apsw.Connection, now_ms: int, limit: int = -1) -> list[str]:
    """The confirmations whose time is over and that nobody has settled as expired, those first that expired first."""
    found = connection.execute(
        "SELECT id FROM confirmations WHERE status = 'pending' AND expires_at_ms <= ? ORDER BY expires_at_ms LIMIT ?",
        (now_ms, limit),
    )
    return [str(confirmation_id) for (confirmation_id,) in found]


def expire_overdue(storage: Storage, now_ms: int, new_id: NewId) -> int:
    """Expire what ran out while nobody looked, each with its audit row; return how many.

    Called at start-up, before anything can be approved.
    """
    found = storage.read(lambda connection: overdue(connection, now_ms))
    origin = Origin(SYSTEM, new_id("boot"), now_ms)
    for confirmation_id in found:
        run = partial(expire, confirmation_id=confirmation_id, origin=origin)
        storage.change_now(expire_cause(origin.request_id, confirmation_id), run)
    return len(found)

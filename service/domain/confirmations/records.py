"""Confirmations: a tool call waits for a decision, and exactly one decision is taken.

The arguments were made canonical once, when the call was made; their bytes are stored, their hash
is what the operator approves, and the stored bytes are what runs. Each decision is a step: it is taken by what its transaction
finds, and a replay takes it again by the same. What is decided about a task's confirmation is decided
about the task in the same transaction.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final

import apsw
import msgspec

from service.domain.policies.records import Decision, decision
from service.domain.sessions.records import Life, life_of
from service.domain.tasks.records import (
    State,
    attribute,
    changed,
    claim_of,
    end,
    state_of,
    take,
)
from service.domain.tools.records import ToolRun, begin_run
from service.effects import Cause, Effect, Origin, Step, system_cause
from service.errors import Conflict, Forbidden, NotFound
from service.ids import NewId
from service.jsontypes import Json
from service.messages.tool_table import TOOLS
from service.query import require_one, select_one
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


class Stored(msgspec.Struct, frozen=True):
    """What is stored of a confirmation, as far as anything is decided by it."""

    tool: str
    arguments_json: str
    args_sha256: str
    status: str
    expires_at_ms: int
    task_id: str | None


class Facts(msgspec.Struct, frozen=True):
    """All that decides about a confirmation: `policy` is its tool's by now, `task` where the task stands that waits for it."""

    confirmation: Stored | None
    policy: Decision
    task: State | None
    now_ms: int


class Approval(msgspec.Struct, frozen=True):
    """A decision for a call: its run, and the facts by which it was taken."""

    run: ToolRun
    args_sha256: str
    facts: Facts


class Refusal(msgspec.Struct, frozen=True):
    """A decision against a call, or that none was taken in time; and the facts by which that was decided."""

    args_sha256: str
    facts: Facts


_STORED: Final = """
    FROM (SELECT id, tool, CAST(args AS TEXT) AS arguments_json, args_sha256, status, expires_at_ms, task_id
    FROM confirmations) WHERE id = ?
"""


def look(connection: apsw.Connection, confirmation_id: str, now_ms: int) -> Facts:
    """Read all that decides about a confirmation at `now_ms`."""
    found = select_one(connection, Stored, _STORED, (confirmation_id,))
    if found is None:
        return Facts(None, "deny", None, now_ms)
    safety = TOOLS[found.tool].safety.value if found.tool in TOOLS else ""
    task = None if found.task_id is None else state_of(connection, found.task_id)
    return Facts(found, decision(connection, safety), task, now_ms)


def judge_approval(confirmation_id: str, args_sha256: str, run_id: str, facts: Facts) -> Approval:
    """Decide for a call. Pure.

    Raises NotFound, Overdue, Forbidden by the policy of now, and Conflict for other arguments than the stored ones, for
    a confirmation that is decided, and for a task that waits for it no longer.
    """
    found = _in_time(confirmation_id, facts)
    if args_sha256 != found.args_sha256:
        raise Conflict("args_sha256 is not the hash of the stored arguments", "args_mismatch")
    if facts.policy == "deny":
        raise Forbidden(f"the policy denies {found.tool} by now", "policy_denied")
    _raise_decided(confirmation_id, found)
    if facts.task is not None and facts.task.status != "queued":
        raise Conflict(f"the task {found.task_id} is {facts.task.status}", "task_over")
    run = ToolRun(
        run_id=run_id,
        tool=found.tool,
        arguments_json=found.arguments_json,
        approval=f"confirmation:{confirmation_id}",
        confirmation_id=confirmation_id,
        task=None if facts.task is None else claim_of(facts.task),
    )
    return Approval(run, found.args_sha256, facts)


def judge_denial(confirmation_id: str, facts: Facts) -> Refusal:
    """Decide against a call. Raises NotFound, Overdue and Conflict. Pure."""
    found = _in_time(confirmation_id, facts)
    _raise_decided(confirmation_id, found)
    return Refusal(found.args_sha256, facts)


def judge_expiry(confirmation_id: str, facts: Facts) -> Refusal:
    """Decide that no decision was taken in time. Raises NotFound and Conflict. Pure."""
    found = _there(confirmation_id, facts)
    _raise_decided(confirmation_id, found)
    return Refusal(found.args_sha256, facts)


def _there(confirmation_id: str, facts: Facts) -> Stored:
    if facts.confirmation is None:
        raise NotFound(f"there is no confirmation {confirmation_id}")
    return facts.confirmation


def _in_time(confirmation_id: str, facts: Facts) -> Stored:
    """A confirmation that was not left waiting for too long. Raises NotFound, Overdue, and Conflict once that is settled."""
    found = _there(confirmation_id, facts)
    if found.status == "expired":
        raise Conflict(f"the confirmation {confirmation_id} has expired", EXPIRED)
    if found.status == "pending" and found.expires_at_ms <= facts.now_ms:
        raise Overdue
    return found


def _raise_decided(confirmation_id: str, found: Stored) -> None:
    """Only the first decision finds a confirmation pending. Raises Conflict."""
    if found.status != "pending":
        raise Conflict(f"the confirmation {confirmation_id} is decided already", "already_decided")


def approving(
    confirmation_id: str, args_sha256: str, run_id: str, origin: Callable[[], Origin]
) -> Step[Facts, Approval, ToolRun]:
    """The step that decides for a call and records that its run begins; `origin()` says who asks, and the time, while it is taken."""
    return Step(
        lambda connection: look(connection, confirmation_id, origin().now_ms),
        Facts,
        lambda facts: judge_approval(confirmation_id, args_sha256, run_id, facts),
        lambda connection, approval: _approve(connection, approval, origin()),
    )


def denying(confirmation_id: str, origin: Callable[[], Origin]) -> Step[Facts, Refusal, None]:
    """The step that decides against a call."""
    return Step(
        lambda connection: look(connection, confirmation_id, origin().now_ms),
        Facts,
        lambda facts: judge_denial(confirmation_id, facts),
        lambda connection, refusal: _deny(connection, confirmation_id, refusal, origin()),
    )


def expiring(confirmation_id: str, origin: Callable[[], Origin]) -> Step[Facts, Refusal, None]:
    """The step that settles a confirmation as expired."""
    return Step(
        lambda connection: look(connection, confirmation_id, origin().now_ms),
        Facts,
        lambda facts: judge_expiry(confirmation_id, facts),
        lambda connection, refusal: _expire(connection, confirmation_id, refusal, origin()),
    )


def _approve(connection: apsw.Connection, approval: Approval, origin: Origin) -> Effect[ToolRun]:
    run, was = approval.run, approval.facts.task
    confirmation_id = str(run.confirmation_id)
    origin = _at(origin, approval.facts)
    settle(connection, confirmation_id, "approved", origin)
    also: tuple[Effect[None], ...] = ()
    if was is not None:
        attribute(connection, was.task_id, origin)
        also = (changed(take(connection, was, origin.now_ms), "running", {"run": run.run_id}),)
    begin_run(connection, run, origin)
    detail: dict[str, Json] = {"args_sha256": approval.args_sha256, "run": run.run_id}
    return Effect(run, "confirmations", confirmation_id, detail, also=also)


def _deny(
    connection: apsw.Connection, confirmation_id: str, refusal: Refusal, origin: Origin
) -> Effect[None]:
    origin = _at(origin, refusal.facts)
    settle(connection, confirmation_id, "denied", origin)
    detail: dict[str, Json] = {"args_sha256": refusal.args_sha256}
    also = _cancel(connection, refusal.facts.task, confirmation_id, "denied", origin)
    return Effect(None, "confirmations", confirmation_id, detail, also=also)


def _expire(
    connection: apsw.Connection, confirmation_id: str, refusal: Refusal, origin: Origin
) -> Effect[None]:
    origin = _at(origin, refusal.facts)
    settle(connection, confirmation_id, "expired", origin)
    also = _cancel(connection, refusal.facts.task, confirmation_id, "expired", origin)
    return Effect(None, "confirmations", confirmation_id, also=also)


def _at(origin: Origin, facts: Facts) -> Origin:
    """What is written was decided at the time of its facts."""
    return msgspec.structs.replace(origin, now_ms=facts.now_ms)


def settle(connection: apsw.Connection, confirmation_id: str, status: str, origin: Origin) -> None:
    """Write down what was decided about a confirmation that this transaction has found pending."""
    connection.execute(
        "UPDATE confirmations SET status = ?, decided_at_ms = ?, decided_by = ?, request_id = ? WHERE id = ?",
        (status, origin.now_ms, origin.actor_id, origin.request_id, confirmation_id),
    )


def expire(connection: apsw.Connection, confirmation_id: str, origin: Origin) -> Effect[None]:
    """Settle a confirmation as expired. Raises NotFound and Conflict."""
    return expiring(confirmation_id, lambda: origin).run(connection)


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


def _cancel(
    connection: apsw.Connection,
    task: State | None,
    confirmation_id: str,
    decided: str,
    origin: Origin,
) -> tuple[Effect[None], ...]:
    """Call the task off that waits for a decision which was taken against it, if one does."""
    if task is None:
        return ()
    if task.status != "queued":
        return ()
    outcome = {"confirmation_id": confirmation_id, "reason": f"confirmation_{decided}"}
    end(connection, task, "cancelled", msgspec.json.encode(outcome), origin.now_ms)
    attribute(connection, task.task_id, origin)
    detail: dict[str, Json] = {"confirmation": confirmation_id, "reason": outcome["reason"]}
    return (changed(task, "cancelled", detail),)


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

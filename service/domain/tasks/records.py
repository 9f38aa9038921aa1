"""Tasks: work somebody asked for, kept until it is done, given up or called off.

A task whose kind is a tool's name is run by SONIA itself, with its payload as the tool's arguments; any other is a note,
which only operators end. `not_before_ms` says from when on a queued task may be claimed, and is absent from notes and
from what waits for a decision. Each claim has an epoch of its own, and only the claim that holds it ends the task.
"""

from typing import Final

import apsw
import msgspec

from service.domain.sessions.records import live_session
from service.effects import Effect, Origin
from service.errors import Conflict, Unavailable, Unprocessable
from service.jsontypes import Json
from service.messages.tool_table import TOOLS, BadArguments, canonical_arguments
from service.query import columns, require_one

MAX_KIND: Final = 100
CANCELLABLE: Final = frozenset({"queued", "running", "needs_operator"})
FIRST_RETRY_MS: Final = 1_000
LAST_RETRY_MS: Final = 60_000


class NewTask(msgspec.Struct, frozen=True):
    """What to do. `payload` is whatever the kind of task needs: for a tool its arguments."""

    kind: str
    payload: dict[str, object] = {}
    session_id: str | None = None


class Task(msgspec.Struct, frozen=True):
    """A task as callers see it. `outcome` is what came of it, or the decision that it waits for."""

    id: str
    kind: str
    payload: msgspec.Raw
    session_id: str | None
    status: str
    created_at_ms: int
    updated_at_ms: int
    created_by: str
    attempts: int
    outcome: msgspec.Raw


class State(msgspec.Struct, frozen=True):
    """What a change of a task's status rests on, and goes over to: none that has changed since is changed."""

    task_id: str
    status: str
    claim_epoch: int


def find(connection: apsw.Connection, task_id: str) -> Task:
    """Read one task. Raises NotFound."""
    return require_one(connection, Task, "FROM tasks WHERE id = ?", (task_id,), f"task {task_id}")


def state_of(connection: apsw.Connection, task_id: str) -> State:
    """Read where a task stands. Raises NotFound."""
    rest = "FROM (SELECT id AS task_id, status, claim_epoch FROM tasks WHERE id = ?)"
    return require_one(connection, State, rest, (task_id,), f"task {task_id}")


def require_room(connection: apsw.Connection, most: int | None) -> None:
    """Refuse what would be one task too many that waits to be run. Raises Unavailable, with which its transaction is undone."""
    if most is None:
        return
    waiting = (
        "SELECT 1 FROM tasks WHERE status = 'queued' AND not_before_ms IS NOT NULL LIMIT 1 OFFSET ?"
    )
    if connection.execute(waiting, (most - 1,)).fetchall():
        raise Unavailable(f"{most} tasks wait to be run already; nothing was written", "overloaded")


def create_task(
    connection: apsw.Connection,
    task_id: str,
    new: NewTask,
    origin: Origin,
    most_waiting: int | None = None,
) -> Effect[Task]:
    """Queue a task. Raises NotFound and Conflict for its session, and Unprocessable for arguments that no tool takes.

    Raises Unavailable where it is to be run and `most_waiting` wait for that already.
    """
    if new.kind in TOOLS:
        require_room(connection, most_waiting)
    return _insert(connection, task_id, new.kind, payload_of(new), new.session_id, origin)


def repeat_task(
    connection: apsw.Connection,
    earlier_id: str,
    task_id: str,
    origin: Origin,
    most_waiting: int | None,
) -> Effect[Task]:
    """Queue again what an earlier task was, as a new one. Raises NotFound, Conflict for its session, and Unavailable."""
    earlier = find(connection, earlier_id)
    require_room(connection, most_waiting)
    payload = bytes(earlier.payload)
    return _insert(connection, task_id, earlier.kind, payload, earlier.session_id, origin)


def payload_of(new: NewTask) -> bytes:
    """The payload as it is stored: for a tool the very characters that will be approved and run. Raises Unprocessable."""
    if new.kind not in TOOLS:
        return msgspec.json.encode(new.payload)
    try:
        return canonical_arguments(new.kind, new.payload).encode()
    except BadArguments as error:
        raise Unprocessable(str(error), "bad_arguments") from error


def _insert(
    connection: apsw.Connection,
    task_id: str,
    kind: str,
    payload: bytes,
    session_id: str | None,
    origin: Origin,
) -> Effect[Task]:
    if session_id is not None:
        live_session(connection, session_id, origin.now_ms)
    made = Task(
        id=task_id,
        kind=kind,
        payload=msgspec.Raw(payload),
        session_id=session_id,
        status="queued",
        created_at_ms=origin.now_ms,
        updated_at_ms=origin.now_ms,
        created_by=origin.actor_id,
        attempts=0,
        outcome=msgspec.Raw(b"null"),
    )
    connection.execute(
        f"INSERT INTO tasks ({columns(Task)}, not_before_ms, request_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own column names
        (
            made.id,
            made.kind,
            payload.decode(),
            made.session_id,
            made.status,
            made.created_at_ms,
            made.updated_at_ms,
            made.created_by,
            made.attempts,
            "null",
            origin.now_ms if kind in TOOLS else None,
            origin.request_id,
        ),
    )
    return Effect(made, "tasks", task_id, {"kind": kind})


def take(connection: apsw.Connection, was: State, now_ms: int) -> State:
    """Begin a claim of a queued task, as `claim_of` has it. Raises Conflict when it is no longer as it was."""
    rest = "SET status = 'running', claim_epoch = claim_epoch + 1, attempts = attempts + 1, not_before_ms = NULL"
    _compare_and_swap(connection, rest, (), was, now_ms)
    return claim_of(was)


def claim_of(was: State) -> State:
    """Where a task stands once it is claimed: its claim has an epoch of its own. Pure."""
    return State(was.task_id, "running", was.claim_epoch + 1)


def put_back(
    connection: apsw.Connection,
    was: State,
    now_ms: int,
    *,
    not_before_ms: int | None,
    outcome: bytes = b"null",
    counted: bool = False,
) -> None:
    """End a claim without an end of the task, which is queued again; unless it is `counted`, it was no attempt.

    Raises Conflict when the task is no longer as it was.
    """
    rest = "SET status = 'queued', not_before_ms = ?, outcome = ?, attempts = attempts - ?"
    values = (not_before_ms, outcome.decode(), int(not counted))
    _compare_and_swap(connection, rest, values, was, now_ms)


def end(connection: apsw.Connection, was: State, status: str, outcome: bytes, now_ms: int) -> None:
    """End a task. Raises Conflict when it is no longer as it was."""
    rest = "SET status = ?, outcome = ?, not_before_ms = NULL"
    _compare_and_swap(connection, rest, (status, outcome.decode()), was, now_ms)


def _compare_and_swap(
    connection: apsw.Connection,
    rest: str,
    values: "tuple[apsw.SQLiteValue, ...]",
    was: State,
    now_ms: int,
) -> None:
    connection.execute(
        f"UPDATE tasks {rest}, updated_at_ms = ? WHERE id = ? AND status = ? AND claim_epoch = ?",
        (*values, now_ms, was.task_id, was.status, was.claim_epoch),
    )
    if connection.changes() != 1:
        raise Conflict(f"the task {was.task_id} is no longer {was.status}", "task_over")


def attribute(connection: apsw.Connection, task_id: str, origin: Origin) -> None:
    """Say that a task was changed last by the request of `origin`, and not by what it itself set going."""
    connection.execute("UPDATE tasks SET request_id = ? WHERE id = ?", (origin.request_id, task_id))


def bury(
    connection: apsw.Connection, was: State, reason: str, outcome: bytes, origin: Origin
) -> "tuple[Effect[None], ...]":
    """Give a task up: failed, with a dead letter that says why. Raises Conflict when it is no longer as it was."""
    letter_id = f"dead{was.task_id.removeprefix('task')}"
    told = {"dead_letter": letter_id, **msgspec.json.decode(outcome, type=dict[str, object])}
    end(connection, was, "failed", msgspec.json.encode(told), origin.now_ms)
    connection.execute(
        "INSERT INTO dead_letters (id, task_id, reason, at_ms, created_by, request_id) VALUES (?, ?, ?, ?, ?, ?)",
        (letter_id, was.task_id, reason, origin.now_ms, origin.actor_id, origin.request_id),
    )
    detail: dict[str, Json] = {"reason": reason, "on_behalf_of": origin.actor_id}
    return (
        changed(was, "failed", detail),
        Effect(None, "dead_letters", letter_id, {"task": was.task_id, **detail}),
    )


def end_with_run(
    connection: apsw.Connection,
    was: State,
    run_status: str,
    error_code: str | None,
    outcome: bytes,
    origin: Origin,
) -> "tuple[Effect[None], ...]":
    """End the task whose run ended; what certainly did not run is queued again, for later.

    A task that is no longer as it was when its run began is left as it is.
    """
    for_whom: dict[str, Json] = {"on_behalf_of": origin.actor_id}
    try:
        if error_code == "tools_unavailable":
            later_ms = origin.now_ms + retry_after_ms(was.claim_epoch)
            put_back(connection, was, origin.now_ms, not_before_ms=later_ms)
            return (changed(was, "queued", {"error_code": error_code, **for_whom}),)
        if run_status in ("succeeded", "needs_operator"):
            status = "completed" if run_status == "succeeded" else run_status
            end(connection, was, status, outcome, origin.now_ms)
            return (changed(was, status, for_whom),)
        return bury(connection, was, error_code or run_status, outcome, origin)
    except Conflict:
        return ()


def retry_after_ms(claims: int) -> int:
    """How long a task waits that was claimed so often and could not be run: doubled each time, up to a minute. Pure."""
    return min(LAST_RETRY_MS, FIRST_RETRY_MS << min(max(claims - 1, 0), 16))


def changed(was: State, status: str, detail: "dict[str, Json] | None" = None) -> Effect[None]:
    """The effect of a task's change of status, for its audit row. Pure."""
    said: dict[str, Json] = {"was": was.status, "status": status, **(detail or {})}
    return Effect(None, "tasks", was.task_id, said)

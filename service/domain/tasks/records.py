"""Tasks: work somebody asked for, kept until it is done, given up or called off."""

from typing import Final

import apsw
import msgspec

from service.domain.sessions.records import live_session
from service.effects import Effect, Origin
from service.errors import Conflict
from service.query import columns, require_one

CANCELLABLE: Final = frozenset({"queued", "running", "needs_operator"})
MAX_KIND: Final = 100


class NewTask(msgspec.Struct, frozen=True):
    """What to do. `payload` is whatever the kind of task needs."""

    kind: str
    payload: dict[str, object] = {}
    session_id: str | None = None


class Task(msgspec.Struct, frozen=True):
    """A task as callers see it."""

    id: str
    kind: str
    payload: msgspec.Raw
    session_id: str | None
    status: str
    created_at_ms: int
    updated_at_ms: int
    created_by: str


def find(connection: apsw.Connection, task_id: str) -> Task:
    """Read one task. Raises NotFound."""
    return require_one(connection, Task, "FROM tasks WHERE id = ?", (task_id,), f"task {task_id}")


def create_task(
    connection: apsw.Connection, task_id: str, new: NewTask, origin: Origin
) -> Effect[Task]:
    """Queue a task. Raises NotFound and Conflict for its session."""
    if new.session_id is not None:
        live_session(connection, new.session_id, origin.now_ms)
    payload = msgspec.json.encode(new.payload)
    made = Task(
        id=task_id,
        kind=new.kind,
        payload=msgspec.Raw(payload),
        session_id=new.session_id,
        status="queued",
        created_at_ms=origin.now_ms,
        updated_at_ms=origin.now_ms,
        created_by=origin.actor_id,
    )
    connection.execute(
        f"INSERT INTO tasks ({columns(Task)}, request_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own column names
        (
            made.id,
            made.kind,
            payload.decode(),
            made.session_id,
            made.status,
            made.created_at_ms,
            made.updated_at_ms,
            made.created_by,
            origin.request_id,
        ),
    )
    return Effect(made, "tasks", task_id, {"kind": new.kind})


def cancel_task(connection: apsw.Connection, task_id: str, origin: Origin) -> Effect[Task]:
    """Call a task off. Raises NotFound, and Conflict when it is over already."""
    if (status := find(connection, task_id).status) not in CANCELLABLE:
        raise Conflict(f"the task {task_id} is {status}", "task_over")
    connection.execute(
        "UPDATE tasks SET status = 'cancelled', updated_at_ms = ?, request_id = ? WHERE id = ?",
        (origin.now_ms, origin.request_id, task_id),
    )
    return Effect(find(connection, task_id), "tasks", task_id, {"was": status})

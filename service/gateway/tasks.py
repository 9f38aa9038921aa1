"""Tasks: work somebody asked for, kept until it is done, given up or called off."""

from typing import Final

import apsw
import msgspec
from litestar import Response, post, route
from litestar.params import FromPath, JSONBody

from service.auth.roles import Role
from service.errors import Conflict, Invalid, NotFound
from service.gateway.call import InjectedCall
from service.gateway.sessions import live_session
from service.http.guards import require_role
from service.http.paging import Cursor, Limit, Numbered, Page, read_page
from service.http.routing import READ
from service.storage import Effect
from service.storage.query import select_one

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


class TaskRow(Numbered, frozen=True):
    """A row of the table `tasks`; `payload` is JSON text."""

    id: str
    kind: str
    payload: str
    session_id: str | None
    status: str
    created_at_ms: int
    updated_at_ms: int
    created_by: str


def view(row: TaskRow) -> Task:
    """A row as callers see it."""
    return Task(
        id=row.id,
        kind=row.kind,
        payload=msgspec.Raw(row.payload.encode()),
        session_id=row.session_id,
        status=row.status,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
        created_by=row.created_by,
    )


def find(connection: apsw.Connection, task_id: str) -> TaskRow:
    """Read one task. Raises NotFound."""
    row = select_one(connection, TaskRow, "FROM tasks WHERE id = ?", (task_id,))
    if row is None:
        raise NotFound(f"there is no task {task_id}")
    return row


@post(["/tasks", "/v1/tasks"], guards=[require_role(Role.OPERATOR)])
async def create_task(call: InjectedCall, data: JSONBody[NewTask]) -> Response[Task]:
    """Accept a task; once answered, it is durable."""
    if not 0 < len(data.kind) <= MAX_KIND:
        raise Invalid(f"kind has between 1 and {MAX_KIND} characters")
    task_id, now_ms = call.services.new_id("task"), call.now_ms()

    def insert(connection: apsw.Connection) -> Effect[Task]:
        if data.session_id is not None:
            live_session(connection, data.session_id, now_ms)
        connection.execute(
            "INSERT INTO tasks (id, kind, payload, session_id, status, created_at_ms, updated_at_ms,"
            " created_by, request_id) VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?)",
            (
                task_id,
                data.kind,
                msgspec.json.encode(data.payload).decode(),
                data.session_id,
                now_ms,
                now_ms,
                call.actor.id,
                call.request_id,
            ),
        )
        return Effect(view(find(connection, task_id)), "tasks", task_id, {"kind": data.kind})

    made = await call.storage.change(call.cause("task.create", task_id), insert)
    return Response(made, headers={"Location": f"/v1/tasks/{task_id}"})


@route(
    ["/tasks", "/v1/tasks"],
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def list_tasks(call: InjectedCall, limit: Limit = 50, cursor: Cursor = None) -> Page[Task]:
    """List tasks, oldest first."""
    return call.storage.read(
        lambda connection: read_page(connection, TaskRow, "tasks", view, limit, cursor)
    )


@route(
    ["/tasks/{task_id:str}", "/v1/tasks/{task_id:str}"],
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def get_task(call: InjectedCall, task_id: FromPath[str]) -> Task:
    """Show one task."""
    return view(call.storage.read(lambda connection: find(connection, task_id)))


@post(
    ["/tasks/{task_id:str}/cancel", "/v1/tasks/{task_id:str}/cancel"],
    guards=[require_role(Role.OPERATOR)],
    status_code=200,
)
async def cancel_task(call: InjectedCall, task_id: FromPath[str]) -> Task:
    """Call a task off. 409 when it is over already."""

    def cancel(connection: apsw.Connection) -> Effect[Task]:
        if (status := find(connection, task_id).status) not in CANCELLABLE:
            raise Conflict(f"the task {task_id} is {status}", "task_over")
        connection.execute(
            "UPDATE tasks SET status = 'cancelled', updated_at_ms = ?, request_id = ? WHERE id = ?",
            (call.now_ms(), call.request_id, task_id),
        )
        return Effect(view(find(connection, task_id)), "tasks", task_id, {"was": status})

    return await call.storage.change(call.cause("task.cancel", task_id), cancel)


HANDLERS = [create_task, list_tasks, get_task, cancel_task]

"""Tasks over HTTP."""

from functools import partial

import apsw
from litestar import Response, post, route
from litestar.params import FromPath, JSONBody

from service.auth.roles import Role
from service.domain.call import InjectedCall
from service.domain.tasks import claims, records
from service.domain.tasks.records import MAX_KIND, NewTask, Task
from service.effects import Effect
from service.errors import Invalid
from service.http.guards import require_role
from service.http.idempotency import AHEAD
from service.http.paging import Cursor, Limit, Page, read_page
from service.http.routing import READ
from service.messages.tool_table import TOOLS


@post(["/tasks", "/v1/tasks"], guards=[require_role(Role.OPERATOR)])
async def create_task(call: InjectedCall, data: JSONBody[NewTask]) -> Response[Task]:
    """Accept a task; once answered, it is durable."""
    if not 0 < len(data.kind) <= MAX_KIND:
        raise Invalid(f"kind has between 1 and {MAX_KIND} characters")
    task_id = call.services.new_id("task")
    most = call.services.settings.tasks.max_waiting
    run = partial(
        records.create_task, task_id=task_id, new=data, origin=call.origin(), most_waiting=most
    )
    made = await call.storage.change(call.cause("task.create", task_id), run)
    if data.kind in TOOLS:
        call.services.worker.wake()
    return Response(made, headers={"Location": f"/v1/tasks/{task_id}"})


@route(
    ["/tasks", "/v1/tasks"],
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def list_tasks(call: InjectedCall, limit: Limit = 50, cursor: Cursor = None) -> Page[Task]:
    """List tasks, oldest first."""
    return call.storage.read(lambda connection: read_page(connection, Task, "tasks", limit, cursor))


@route(
    ["/tasks/{task_id:str}", "/v1/tasks/{task_id:str}"],
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def get_task(call: InjectedCall, task_id: FromPath[str]) -> Task:
    """Show one task."""
    return call.storage.read(lambda connection: records.find(connection, task_id))


@post(
    ["/tasks/{task_id:str}/cancel", "/v1/tasks/{task_id:str}/cancel"],
    guards=[require_role(Role.OPERATOR)],
    status_code=200,
    opt=AHEAD,
)
async def cancel_task(call: InjectedCall, task_id: FromPath[str]) -> Task:
    """Call a task off. 409 when it is over already, or runs: what was begun cannot be called back."""

    def cancel(connection: apsw.Connection) -> Effect[Task]:
        return claims.cancel_task(connection, task_id, call.origin())

    return await call.storage.change(call.cause("task.cancel", task_id), cancel)


HANDLERS = [create_task, list_tasks, get_task, cancel_task]

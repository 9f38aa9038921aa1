"""Dead letters over HTTP: what was given up, and its second chance."""

from functools import partial

from litestar import Response, post, route
from litestar.params import FromPath

from service.auth.roles import Role
from service.domain.call import InjectedCall
from service.domain.deadletters import records
from service.domain.deadletters.records import DeadLetter
from service.domain.tasks.records import Task
from service.http.guards import require_role
from service.http.paging import Cursor, Limit, Page, read_page
from service.http.routing import READ


@route(
    "/v1/dead-letters",
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def list_dead_letters(
    call: InjectedCall, limit: Limit = 50, cursor: Cursor = None
) -> Page[DeadLetter]:
    """List tasks that were given up, oldest first."""
    return call.storage.read(
        lambda connection: read_page(connection, DeadLetter, "dead_letters", limit, cursor)
    )


@post("/v1/dead-letters/{letter_id:str}/replay", guards=[require_role(Role.OPERATOR)])
async def replay_dead_letter(call: InjectedCall, letter_id: FromPath[str]) -> Response[Task]:
    """Queue what was given up once more, as a new task. 409 when that was done before, 503 when too many wait to be run."""
    task_id = call.services.new_id("task")
    run = partial(
        records.replay,
        letter_id=letter_id,
        task_id=task_id,
        origin=call.origin(),
        most_waiting=call.services.settings.tasks.max_waiting,
    )
    made = await call.storage.change(call.cause("dead_letter.replay", letter_id), run)
    call.services.worker.wake()
    return Response(made, headers={"Location": f"/v1/tasks/{task_id}"})


HANDLERS = [list_dead_letters, replay_dead_letter]

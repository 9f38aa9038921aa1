"""Dead letters: what was given up, why, and as which task it was tried once more."""

import apsw
import msgspec

from service.domain.tasks.records import Task, repeat_task
from service.effects import Effect, Origin
from service.errors import Conflict
from service.query import require_one


class DeadLetter(msgspec.Struct, frozen=True):
    """A task that was given up. `replayed_as` is the task that took its place; null until somebody asks for one."""

    id: str
    task_id: str
    reason: str
    at_ms: int
    replayed_as: str | None


def find(connection: apsw.Connection, letter_id: str) -> DeadLetter:
    """Read one dead letter. Raises NotFound."""
    rest = "FROM dead_letters WHERE id = ?"
    return require_one(connection, DeadLetter, rest, (letter_id,), f"dead letter {letter_id}")


def replay(
    connection: apsw.Connection,
    letter_id: str,
    task_id: str,
    origin: Origin,
    most_waiting: int | None = None,
) -> Effect[Task]:
    """Queue what was given up again, as a new task; once for each letter.

    Raises NotFound, Conflict when it was replayed before or its session is over, and Unavailable as `create_task` does.
    """
    letter = find(connection, letter_id)
    if letter.replayed_as is not None:
        raise Conflict(f"{letter_id} was replayed as {letter.replayed_as}", "replayed_already")
    made = repeat_task(connection, letter.task_id, task_id, origin, most_waiting)
    connection.execute(
        "UPDATE dead_letters SET replayed_as = ?, request_id = ? WHERE id = ?",
        (task_id, origin.request_id, letter_id),
    )
    replayed: Effect[None] = Effect(None, "dead_letters", letter_id, {"replayed_as": task_id})
    return msgspec.structs.replace(made, also=(replayed,))

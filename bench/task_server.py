"""The gateway: whole, or with tasks that are answered without being written.

`python -m bench.task_server durable|unwritten` prints the port, an operator's token and its process, and ends with its input.
"""

import sys
from typing import Any

import msgspec

from bench.turn_server import serve_until_input_ends
from service.domain.call import Services
from service.domain.tasks.records import Task

_MADE = Task(
    id="task_0123456789abcdef01234567",
    kind="note",
    payload=msgspec.Raw(b"{}"),
    session_id=None,
    status="queued",
    created_at_ms=1_700_000_000_000,
    updated_at_ms=1_700_000_000_000,
    created_by="tok_0123456789abcdef",
    attempts=0,
    outcome=msgspec.Raw(b"null"),
)


class _Unwritten:
    """A storage that says that everything is done."""

    def __init__(self, storage: object) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)

    async def change(self, _cause: object, _run: object) -> Task:
        return _MADE


def unwritten(services: Services) -> Services:
    """`services` whose changes change nothing."""
    storage: Any = _Unwritten(services.storage)
    return msgspec.structs.replace(services, storage=storage)


if __name__ == "__main__":
    serve_until_input_ends(
        {"durable": lambda services: services, "unwritten": unwritten}[sys.argv[1]]
    )

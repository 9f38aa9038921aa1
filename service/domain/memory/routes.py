"""Looking into memory without taking a turn."""

from typing import Annotated

import msgspec
from litestar import route
from litestar.params import Parameter

from service.auth.roles import Role
from service.dependencies import MemoryUnavailable
from service.domain.call import InjectedCall
from service.errors import Unavailable
from service.http.guards import require_role
from service.http.routing import READ
from service.messages.memory import MAX_MEMORIES, MAX_TOKENS, Memory

MAX_QUERY_CHARS = 1000
"""As many as have room in the head of a request, whatever they are."""


class MemoryPage(msgspec.Struct, frozen=True):
    """Memories about a query, best first; `tokens` is what they cost together."""

    items: list[Memory]
    tokens: int


@route("/v1/memory", http_method=READ, guards=[require_role(Role.OBSERVER)])
async def find_memories(
    call: InjectedCall,
    q: Annotated[str, Parameter(max_length=MAX_QUERY_CHARS)],
    max_tokens: Annotated[int, Parameter(ge=0, le=MAX_TOKENS)] = 512,
) -> MemoryPage:
    """The memories about `q`, best first, at most `max_tokens` tokens together. 503 while memory is unavailable."""
    try:
        found = await call.services.dependencies.memory.search(
            q, max_tokens=max_tokens, limit=MAX_MEMORIES, request_id=call.request_id
        )
    except MemoryUnavailable as error:
        raise Unavailable("memory is unavailable", "memory_unavailable") from error
    return MemoryPage(found, sum(memory.tokens for memory in found))


HANDLERS = (find_memories,)

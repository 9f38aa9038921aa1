"""Adding to memory, and looking into it, without taking a turn."""

from functools import partial
from typing import Annotated

import msgspec
from litestar import Response, post, route
from litestar.params import FromPath, JSONBody, Parameter

from service.auth.roles import Role
from service.dependencies import MemoryUnavailable
from service.domain.call import InjectedCall
from service.domain.memory.records import AcceptedMemory, NewMemory, accept_memory, find
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


@post("/v1/memory", guards=[require_role(Role.OPERATOR)], status_code=202)
async def add_memory(call: InjectedCall, data: JSONBody[NewMemory]) -> Response[AcceptedMemory]:
    """Accept a text to be remembered: once answered, that is certain, whether or not memory is there now.

    It is found as soon as memory has it; until then `Location` says that it is pending. 404 for an unknown session, 409
    for one that is over.
    """
    memory_id = call.services.new_id("mem")
    run = partial(
        accept_memory,
        outbox=call.services.outbox,
        memory_id=memory_id,
        new=data,
        origin=call.origin(),
    )
    accepted = await call.storage.change(call.cause("memory.add", memory_id), run)
    return Response(accepted, headers={"Location": f"/v1/memory/{memory_id}"})


@route(
    "/v1/memory/{memory_id:str}",
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def get_accepted(call: InjectedCall, memory_id: FromPath[str]) -> AcceptedMemory:
    """Show how far a memory is that was accepted: pending, delivered, or in need of an operator."""
    return call.storage.read(lambda connection: find(connection, memory_id))


HANDLERS = (find_memories, add_memory, get_accepted)

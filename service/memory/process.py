"""The memory process: its handlers, and how it is started."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from litestar import Litestar, Response, post

from service.auth.roles import Role
from service.clock import wall_ms
from service.errors import KEEP_AND_RESTORE, Conflict, StartRefused
from service.http.guards import require_role
from service.ids import random_id
from service.internal.app import InternalApp, internal_app
from service.internal.runner import serve
from service.internal.start import Checked
from service.keys import Link
from service.memory.store import Effect, MemoryConflict, MemoryStore, MemoryStoreUnusable
from service.memory.tokens import within_budget
from service.messages.memory import FoundMemories, Memory, SearchMemories, StoreMemory
from service.trust import check_database

T = TypeVar("T")


class MemoryThread:
    """The one thread that touches the database, so that waiting for the disk stops no other request."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memory")

    async def run(self, work: Callable[[MemoryStore], T]) -> T:
        """Run `work` on the store; returns or raises what it does."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._store)

    def close(self) -> None:
        """Finish what is queued and close the database."""
        self._thread.submit(self._store.close)
        self._thread.shutdown(wait=True)


@post("/internal/memories", guards=[require_role(Role.SERVICE)])
async def store_memory(data: StoreMemory, memories: MemoryThread) -> Response[Memory]:
    """Remember a text: 201 when it is new, 200 when that was done under this id already, 409 when something else was."""
    memory_id = data.memory_id or random_id("mem")
    now_ms = wall_ms()
    try:
        memory, new = await memories.run(
            lambda store: store.store(
                Effect(memory_id, data.seq, data.text, data.session_id), now_ms=now_ms
            )
        )
    except MemoryConflict as error:
        raise Conflict(f"{memory_id} holds another text", "memory_id_taken") from error
    return Response(memory, status_code=201 if new else 200)


@post("/internal/memories/search", guards=[require_role(Role.SERVICE)], status_code=200)
async def search_memories(data: SearchMemories, memories: MemoryThread) -> FoundMemories:
    """The memories about a query, best first, within a token budget."""
    ranked = await memories.run(lambda store: store.search(data.query, data.limit))
    return within_budget(ranked, data.max_tokens)


def memory_app(store: MemoryStore, link: Link) -> InternalApp:
    """The application of the memory process; it closes `store` when it ends."""
    memories = MemoryThread(store)

    @asynccontextmanager
    async def closing(_: Litestar) -> AsyncIterator[None]:
        try:
            yield
        finally:
            memories.close()

    return internal_app(
        [store_memory, search_memories],
        {"memories": memories},
        link,
        random_id,
        [closing],
    )


def run(checked: Checked) -> None:
    """Serve until told to end. Raises StartRefused, before anything listens."""
    check_database(checked.state.memory_database)
    try:
        store = MemoryStore(checked.state.memory_database)
    except MemoryStoreUnusable as error:
        raise StartRefused(str(error), KEEP_AND_RESTORE) from error
    serve(memory_app(store, checked.link), checked)

"""One answer for all who ask while it is being found."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Something that takes long and is done once at a time: who asks while it is under way waits for what comes of it.

    It rests as long as it took before it is done again, so that others have half of the time, however many ask.
    """

    def __init__(self) -> None:
        self._under_way: asyncio.Task[T] | None = None
        self._rests_until_s = 0.0

    async def ask(self, find: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return what `find` finds, or what one finds that began before. It goes on when whoever asked leaves."""
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._find(find))
            self._under_way.add_done_callback(self._ended)
        return await asyncio.shield(self._under_way)

    async def _find(self, find: Callable[[], Coroutine[None, None, T]]) -> T:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._rests_until_s - loop.time()))
        began_s = loop.time()
        try:
            return await find()
        finally:
            self._rests_until_s = 2 * loop.time() - began_s

    def _ended(self, _: "asyncio.Task[T]") -> None:
        self._under_way = None

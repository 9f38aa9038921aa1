"""The gateway's client of the memory process."""

from typing import Final

import msgspec

from service.dependencies.dependency import Dependency
from service.dependencies.errors import DependencyUnavailable, MemoryRefused, MemoryUnavailable
from service.http.client import BadAnswer, HttpRequest, labelled
from service.messages.memory import FoundMemories, Memory, SearchMemories, StoreMemory

_STORED: Final = frozenset({200, 201})
# Whose fault is in what was sent, so that it stays; any other answer is one of a process that is not as it should be.
_REFUSED: Final = frozenset({400, 409, 413, 422})


class MemoryClient:
    """Asks the memory process; every question is answered or given up within `within_s` seconds.

    Storing, which nobody waits for, may take `store_within_s`.
    """

    def __init__(self, dependency: Dependency, within_s: float, store_within_s: float) -> None:
        self._dependency = dependency
        self._within_s = within_s
        self._store_within_s = store_within_s

    async def wait_until_up(self) -> None:
        """Wait until the memory process can be asked."""
        await self._dependency.wait_until_up()

    async def store(self, asked: StoreMemory, *, request_id: str) -> None:
        """Have a text remembered. It may be asked for again with the same id: it is remembered once.

        Raises MemoryRefused when that would end the same each time, otherwise MemoryUnavailable.
        """
        request = HttpRequest(
            "POST",
            "/internal/memories",
            self._store_within_s,
            msgspec.json.encode(asked),
            labelled(request_id),
        )
        try:
            answer = await self._dependency.call(request)
        except DependencyUnavailable as error:
            raise MemoryUnavailable(f"memory: {error}") from error
        if answer.status in _REFUSED:
            raise MemoryRefused(f"memory answered {answer.status}")
        if answer.status not in _STORED:
            raise MemoryUnavailable(f"memory answered {answer.status}")

    async def search(
        self, query: str, *, max_tokens: int, limit: int, request_id: str
    ) -> list[Memory]:
        """The memories about `query`, best first, at most `limit`, at most `max_tokens` tokens together.

        Raises MemoryUnavailable, whatever went wrong.
        """
        body = msgspec.json.encode(SearchMemories(query, max_tokens, limit))
        request = HttpRequest(
            "POST", "/internal/memories/search", self._within_s, body, labelled(request_id)
        )
        try:
            answer = await self._dependency.call(request)
            answer.require(200)
            return msgspec.json.decode(answer.body, type=FoundMemories).items
        except (DependencyUnavailable, BadAnswer, msgspec.DecodeError) as error:
            raise MemoryUnavailable(f"memory: {error}") from error

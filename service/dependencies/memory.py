"""The gateway's client of the memory process."""

import msgspec

from service.dependencies.dependency import Dependency
from service.dependencies.errors import DependencyUnavailable, MemoryUnavailable
from service.http.client import BadAnswer, HttpRequest, labelled
from service.messages.memory import FoundMemories, Memory, SearchMemories


class MemoryClient:
    """Asks the memory process; every question is answered or given up within `within_s` seconds."""

    def __init__(self, dependency: Dependency, within_s: float) -> None:
        self._dependency = dependency
        self._within_s = within_s

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

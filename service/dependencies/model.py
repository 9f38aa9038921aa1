"""The gateway's client of the model process."""

from collections.abc import Sequence

import msgspec

from service.dependencies.dependency import Dependency
from service.dependencies.errors import DependencyUnavailable, ModelUnavailable
from service.http.client import BadAnswer, HttpRequest, labelled
from service.messages.builtin import conversation
from service.messages.model import ChatCompletion, ChatRequest


class ModelClient:
    """Asks the model process; every question is answered or given up within `within_s` seconds."""

    def __init__(self, dependency: Dependency, within_s: float) -> None:
        self._dependency = dependency
        self._within_s = within_s

    async def answer(self, text: str, memories: Sequence[str], *, request_id: str) -> str:
        """The model's answer to `text`, given what is remembered. Raises ModelUnavailable, whatever went wrong."""
        body = msgspec.json.encode(ChatRequest(conversation(text, memories)))
        request = HttpRequest(
            "POST", "/internal/chat/completions", self._within_s, body, labelled(request_id)
        )
        try:
            answer = await self._dependency.call(request)
            answer.require(200)
            return msgspec.json.decode(answer.body, type=ChatCompletion).choices[0].message.content
        except (DependencyUnavailable, BadAnswer, msgspec.DecodeError) as error:
            raise ModelUnavailable(f"model: {error}") from error

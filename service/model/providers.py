"""Where answers come from: one class per provider, listed in one table."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import msgspec

from service.http.client import HttpClient, HttpError, HttpLimits, HttpRequest
from service.messages.builtin import answer_to
from service.messages.model import AnswerMessage, ChatCompletion, ChatRequest, Choice

MAX_SHOWN_CHARS = 200


class ProviderError(Exception):
    """The provider gave no usable answer; `code` says in which way, the text says what it said (no secrets)."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ProviderMisconfigured(Exception):
    """The configuration names no usable provider; the process must not start."""


@runtime_checkable
class Provider(Protocol):
    """Something that completes chats. Checkable, since the application verifies what it injects."""

    name: str

    async def complete(self, request: ChatRequest) -> ChatCompletion:
        """The next message; raises ProviderError."""
        ...

    async def close(self) -> None:
        """Drop what it keeps open."""
        ...


class BuiltinProvider:
    """Answers from rules, without any model: the same request always gets the same answer."""

    name = "builtin"

    async def complete(self, request: ChatRequest) -> ChatCompletion:
        """The next message; never fails."""
        return ChatCompletion([Choice(AnswerMessage(answer_to(request.messages)))], model="builtin")

    async def close(self) -> None:
        """Keeps nothing open."""


class OpenAIProvider:
    """Any server that speaks the OpenAI chat completions protocol.

    `base_url` is what such servers document as base URL (".../v1"); a URL without a path gets "/v1".
    `within_s` bounds one answer.
    """

    name = "openai"

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        model: str,
        within_s: float,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = HttpClient(base_url, headers, HttpLimits())
        self.path = "/chat/completions" if self._client.prefix else "/v1/chat/completions"
        self._model = model
        self._within_s = within_s

    async def complete(self, request: ChatRequest) -> ChatCompletion:
        """The upstream's next message; raises ProviderError for every kind of failure."""
        chosen = msgspec.structs.replace(request, model=request.model or self._model)
        body = msgspec.json.encode(chosen)
        try:
            answer = await self._client.send(HttpRequest("POST", self.path, self._within_s, body))
        except HttpError as error:
            raise ProviderError("provider_unavailable", str(error)) from None
        if answer.status in (401, 403):
            raise ProviderError("provider_refused_key", f"status {answer.status}")
        if answer.status == 429:
            raise ProviderError("provider_busy", "status 429")
        if answer.status != 200:
            shown = answer.body[:MAX_SHOWN_CHARS].decode("utf-8", "replace")
            raise ProviderError("provider_failed", f"status {answer.status}: {shown}")
        try:
            return msgspec.json.decode(answer.body, type=ChatCompletion)
        except msgspec.DecodeError as error:
            raise ProviderError("provider_bad_answer", str(error)) from None

    async def close(self) -> None:
        """Drop all connections."""
        await self._client.close()


def _builtin(_environ: Mapping[str, str]) -> Provider:
    return BuiltinProvider()


def _openai(environ: Mapping[str, str]) -> Provider:
    url = environ.get("SONIA_PROVIDER_URL", "")
    if not url:
        raise ProviderMisconfigured("provider 'openai' needs SONIA_PROVIDER_URL")
    key = environ.get("SONIA_PROVIDER_KEY") or None
    try:
        within_s = float(environ.get("SONIA_PROVIDER_TIMEOUT_S", "30"))
        return OpenAIProvider(url, key, environ.get("SONIA_PROVIDER_MODEL", "default"), within_s)
    except ValueError as error:
        raise ProviderMisconfigured(f"provider 'openai': {error}") from None


PROVIDERS: Mapping[str, Callable[[Mapping[str, str]], Provider]] = {
    "builtin": _builtin,
    "openai": _openai,
}


def provider_from(environ: Mapping[str, str]) -> Provider:
    """The provider that SONIA_PROVIDER names; without it `openai` where SONIA_PROVIDER_URL is set, else `builtin`.

    Raises ProviderMisconfigured for an unknown name or unusable settings: an unknown name never falls
    back to something else in silence.
    """
    default = "openai" if environ.get("SONIA_PROVIDER_URL") else "builtin"
    name = environ.get("SONIA_PROVIDER", default)
    if name not in PROVIDERS:
        raise ProviderMisconfigured(
            f"unknown provider {name!r}; known: {', '.join(sorted(PROVIDERS))}"
        )
    return PROVIDERS[name](environ)

"""The model process: its one handler, and how it is started."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from litestar import Litestar, post

from service.auth.roles import Role
from service.errors import ProblemError, StartRefused
from service.http.guards import require_role
from service.ids import random_id
from service.internal.app import InternalApp, internal_app
from service.internal.runner import serve
from service.internal.start import Checked
from service.keys import Link
from service.messages.model import ChatCompletion, ChatRequest
from service.model.providers import Provider, ProviderError, ProviderMisconfigured, provider_from


class ProviderFailed(ProblemError):
    """The provider gave no usable answer; `code` says in which way."""

    status: ClassVar[int] = 502
    title: ClassVar[str] = "Bad gateway"
    default_code: ClassVar[str] = "provider_failed"


@post("/internal/chat/completions", guards=[require_role(Role.SERVICE)], status_code=200)
async def complete(data: ChatRequest, provider: Provider) -> ChatCompletion:
    """The next message of a conversation; 502 with the kind of failure when the provider gives none."""
    try:
        return await provider.complete(data)
    except ProviderError as error:
        raise ProviderFailed(error.reason, error.code) from error


def model_app(provider: Provider, link: Link) -> InternalApp:
    """The application of the model process; it closes `provider` when it ends."""

    @asynccontextmanager
    async def closing(_: Litestar) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await provider.close()

    return internal_app([complete], {"provider": provider}, link, random_id, [closing])


def run(checked: Checked) -> None:
    """Serve until told to end. Raises StartRefused, before anything listens."""
    try:
        provider = provider_from(checked.environ)
    except ProviderMisconfigured as error:
        raise StartRefused(str(error), "correct the environment of the model process") from error
    serve(model_app(provider, checked.link), checked)

"""Choosing a provider, and the answers of the built-in one."""

import asyncio

import pytest

from service.messages.builtin import conversation, fallback_answer
from service.messages.model import ChatMessage, ChatRequest
from service.model.providers import (
    BuiltinProvider,
    OpenAIProvider,
    ProviderMisconfigured,
    provider_from,
)


def answer(messages: list[ChatMessage]) -> str:
    return asyncio.run(BuiltinProvider().complete(ChatRequest(messages))).choices[0].message.content


def test_the_builtin_answers_alike_every_time_and_from_the_best_memory() -> None:
    messages = conversation("what about  cats", ["cats sleep\na lot", "dogs bark"])
    assert (
        answer(messages)
        == answer(messages)
        == 'About "what about cats" I remember: cats sleep a lot'
    )


def test_the_builtin_admits_that_it_remembers_nothing() -> None:
    assert (
        answer(conversation("what about cats", []))
        == 'I have nothing remembered about "what about cats".'
    )


def test_the_fallback_says_what_is_missing() -> None:
    assert "unavailable" in fallback_answer("hello")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "builtin"),
        ({"SONIA_PROVIDER_URL": ""}, "builtin"),
        ({"SONIA_PROVIDER_URL": "http://127.0.0.1:1"}, "openai"),
        ({"SONIA_PROVIDER": "builtin", "SONIA_PROVIDER_URL": "http://127.0.0.1:1"}, "builtin"),
    ],
)
def test_the_configuration_picks_the_provider(environ: dict[str, str], name: str) -> None:
    assert provider_from(environ).name == name


@pytest.mark.parametrize(
    "environ",
    [
        {"SONIA_PROVIDER": "opanai"},
        {"SONIA_PROVIDER": ""},
        {"SONIA_PROVIDER": "openai"},
        {"SONIA_PROVIDER_URL": "127.0.0.1:8000"},
        {"SONIA_PROVIDER_URL": "http://127.0.0.1:1", "SONIA_PROVIDER_TIMEOUT_S": "soon"},
    ],
)
def test_what_cannot_be_meant_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ProviderMisconfigured):
        provider_from(environ)


def test_a_base_url_without_a_path_gets_v1() -> None:
    bare = OpenAIProvider("http://127.0.0.1:1", None, "m", 1.0)
    full = OpenAIProvider("http://127.0.0.1:1/openai/v1/", None, "m", 1.0)
    assert (bare.path, full.path) == ("/v1/chat/completions", "/chat/completions")

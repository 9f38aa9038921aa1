"""What goes over the wire to the model process and to its upstream: the OpenAI chat completions subset used here.

Source: OpenAI API reference, "Create chat completion".
"""

from typing import Annotated, Literal

import msgspec

MAX_CONTENT_CHARS = 262_144


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, msgspec.Meta(max_length=MAX_CONTENT_CHARS)]


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Ask for the next message. Without `model` the provider's configured one is taken."""

    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1, max_length=256)]
    model: str | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: float | None = None


class AnswerMessage(msgspec.Struct, frozen=True):
    """The assistant's message of a choice."""

    content: str
    role: str = "assistant"


class Choice(msgspec.Struct, frozen=True):
    """One alternative answer."""

    message: AnswerMessage
    index: int = 0
    finish_reason: str | None = "stop"


class ChatCompletion(msgspec.Struct, frozen=True):
    """The answer; only the first choice is ever used."""

    choices: Annotated[list[Choice], msgspec.Meta(min_length=1)]
    model: str = ""
    id: str = ""
    object: str = "chat.completion"

"""Answers without a model: rules that are honest about being rules.

The model process uses them as its default provider, the gateway as the fallback when the model process is away.
"""

from collections.abc import Sequence

from service.messages.model import ChatMessage

MEMORY_HEADING = "What is remembered, most relevant first:"
MAX_QUOTED_CHARS = 400


def conversation(text: str, memories: Sequence[str]) -> list[ChatMessage]:
    """The messages for one turn: what is remembered as a system message, if anything, then the user's text."""
    user = ChatMessage("user", text)
    if not memories:
        return [user]
    lines = [MEMORY_HEADING, *(f"- {' '.join(memory.split())}" for memory in memories)]
    return [ChatMessage("system", "\n".join(lines)), user]


def answer_to(messages: Sequence[ChatMessage]) -> str:
    """The answer to the last user message, from what the system messages remember. Pure."""
    asked = next((message.content for message in reversed(messages) if message.role == "user"), "")
    remembered = [
        line.removeprefix("- ")
        for message in messages
        if message.role == "system" and message.content.startswith(MEMORY_HEADING)
        for line in message.content.splitlines()[1:]
    ]
    if remembered:
        return f"About {_quoted(asked)} I remember: {_shortened(remembered[0])}"
    return f"I have nothing remembered about {_quoted(asked)}."


def fallback_answer(text: str) -> str:
    """The gateway's answer while the model process is away. Pure."""
    return f"The language model is unavailable at the moment, so I cannot think about {_quoted(text)} yet."


def _quoted(text: str) -> str:
    return f'"{_shortened(" ".join(text.split()))}"'


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_QUOTED_CHARS else text[: MAX_QUOTED_CHARS - 1] + "…"

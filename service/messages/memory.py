"""What goes over the wire between the gateway and the memory process."""

from typing import Annotated

import msgspec

MAX_TEXT_CHARS = 32_768
MAX_TOKENS = 100_000
MAX_MEMORIES = 20

MemoryText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
MemoryId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Memory(msgspec.Struct, frozen=True):
    """One remembered text. `tokens` is its cost against `max_tokens`; `created_at_ms` is Unix time."""

    memory_id: str
    text: str
    tokens: int
    session_id: str | None
    created_at_ms: int


class StoreMemory(msgspec.Struct, frozen=True):
    """Remember a text. With a `memory_id` the call may be repeated: the same text is stored once.

    `seq`: where the effect stands among all that the sender has sent, kept beside its key.
    """

    text: MemoryText
    memory_id: MemoryId | None = None
    session_id: MemoryId | None = None
    seq: Annotated[int, msgspec.Meta(ge=1)] | None = None


class SearchMemories(msgspec.Struct, frozen=True):
    """Ask for memories about `query`, best first, that cost at most `max_tokens` together."""

    query: Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS)]
    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = MAX_MEMORIES


class FoundMemories(msgspec.Struct, frozen=True):
    """The answer to a search; `tokens` is the sum over `items` and never above what was asked for."""

    items: list[Memory]
    tokens: int

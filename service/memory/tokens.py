"""What a text costs against a token budget, and which memories fit into one."""

import re
from collections.abc import Iterable

from service.messages.memory import FoundMemories, Memory

BYTES_PER_TOKEN = 4

_PIECE = re.compile(r"\w+|[^\w\s]")


def token_count(text: str) -> int:
    """Tokens of `text`: one per started four UTF-8 bytes of each word, one per other sign; at least 1.

    Sub-word vocabularies of language models come out at or below this for ordinary text, so a budget kept
    here is kept there. It needs no vocabulary and is the same everywhere.
    """
    pieces = _PIECE.findall(text)
    return max(1, sum(-(-len(piece.encode()) // BYTES_PER_TOKEN) for piece in pieces))


def within_budget(ranked: Iterable[Memory], max_tokens: int) -> FoundMemories:
    """The memories of `ranked`, in their order, that fit into `max_tokens` together.

    One that does not fit is passed over and shorter ones behind it still get their chance.
    """
    items: list[Memory] = []
    tokens = 0
    for memory in ranked:
        if tokens + memory.tokens <= max_tokens:
            items.append(memory)
            tokens += memory.tokens
    return FoundMemories(items, tokens)

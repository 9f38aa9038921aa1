"""Takes secrets out of what is about to be written."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

import msgspec

REDACTED: Final = b"[redacted]"
SHORTEST_SECRET: Final = 8
DEEPEST_QUOTES: Final = 3

_is_json = msgspec.json.Decoder(msgspec.Raw).decode


class Redactor:
    """Replaces known secrets (texts; the list may grow) and what matches a pattern by `[redacted]`."""

    def __init__(self, secrets: Sequence[str], patterns: Sequence[str]) -> None:
        self._secrets = secrets
        self._patterns = [re.compile(pattern.encode()) for pattern in patterns]

    def redact(self, data: bytes) -> bytes:
        """`data` without secrets, however often they are quoted as JSON inside of it."""
        for secret in self._secrets:
            for spelling in spellings(secret):
                data = data.replace(spelling, REDACTED)
        for pattern in self._patterns:
            data = pattern.sub(REDACTED, data)
        return data

    def redact_line(self, line: bytes) -> bytes:
        """The same for one line of JSON, which stays JSON."""
        redacted = self.redact(line)
        if redacted == line or _still_json(redacted):
            return redacted
        # A number was a secret, or a pattern went past the end of a text: text by text then.
        return msgspec.json.encode(self._value(msgspec.json.decode(line), depth=0))

    def _value(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {
                self._text(str(key)): self._value(item, depth + 1) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._value(item, depth + 1) for item in value]
        # Numbers of the row itself are times and counts; those deeper down were said by somebody.
        if depth > 1 and isinstance(value, int | float) and self._text(str(value)) != str(value):
            return REDACTED.decode()
        return value

    def _text(self, text: str) -> str:
        return self.redact(text.encode()).decode(errors="replace")


def _still_json(line: bytes) -> bool:
    try:
        _is_json(line)
    except msgspec.DecodeError:
        return False
    return True


@lru_cache(maxsize=1024)
def spellings(secret: str) -> tuple[bytes, ...]:
    """The secret as it is, and as JSON that is quoted in JSON spells it, where that differs."""
    # A shorter spelling may be a part of a longer one, and would leave half of it.
    return tuple(sorted(set(_spellings(secret)), key=len, reverse=True))


def _spellings(secret: str) -> Iterator[bytes]:
    for _ in range(DEEPEST_QUOTES + 1):
        yield secret.encode()
        yield json.dumps(secret)[1:-1].encode()
        secret = json.dumps(secret, ensure_ascii=False)[1:-1]

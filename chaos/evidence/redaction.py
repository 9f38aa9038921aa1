"""Takes secrets out of what is about to be written."""

import base64
import json
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from chaos.answers import is_json
from chaos.spec.patterns import of_bytes

REDACTED: Final = b"[redacted]"
SHORTEST_SECRET: Final = 8
DEEPEST_QUOTES: Final = 3


class Redactor:
    """Replaces known secrets and what matches a pattern by `[redacted]`.

    `secrets` are texts with the name that each is known by. A group in a pattern is the part of a secret that is
    one by itself.
    """

    def __init__(self, secrets: Mapping[str, str], patterns: Sequence[str]) -> None:
        self.secrets: dict[str, str] = {}
        self._spelt: list[tuple[bytes, str]] = []
        self._patterns = [of_bytes(pattern) for pattern in patterns]
        for text, name in secrets.items():
            self.keep(text, name)

    def keep(self, text: str, name: str) -> None:
        """From now on `text` and its parts are secrets; too short ones would redact too much."""
        if len(text) < SHORTEST_SECRET or text in self.secrets:
            return
        self.secrets[text] = name
        self._spelt += [(spelling, name) for spelling in spellings(text)]
        for pattern in self._patterns:
            whole = pattern.fullmatch(text.encode())
            for part in whole.groups() if whole else ():
                self.keep((part or b"").decode(), name)

    def redact(self, data: bytes) -> bytes:
        """`data` without secrets, however they are spelt in it."""
        for spelling, _ in self._spelt:
            data = data.replace(spelling, REDACTED)
        for pattern in self._patterns:
            data = pattern.sub(REDACTED, data)
        return data

    def found(self, data: bytes) -> list[str | None]:
        """The names of all secrets in `data`, each once; None stands for what only looks like one."""
        names: dict[str | None, None] = {}
        for spelling, name in self._spelt:
            if spelling in data:
                names[name] = None
                data = data.replace(spelling, REDACTED)
        if any(pattern.search(data) for pattern in self._patterns):
            names[None] = None
        return list(names)

    def redact_line(self, line: bytes) -> bytes:
        """The same for one line of JSON, which stays JSON."""
        redacted = self.redact(line)
        if redacted == line or is_json(redacted):
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


def spellings(secret: str) -> tuple[bytes, ...]:
    """The secret as it is, as JSON that is quoted in JSON spells it, percent-encoded, and inside of base64."""
    # A shorter spelling may be a part of a longer one, and would leave half of it.
    return tuple(sorted(set(_spellings(secret)), key=len, reverse=True))


def _spellings(secret: str) -> Iterator[bytes]:
    yield urllib.parse.quote(secret, safe="").encode()
    for before in range(3):
        # What does not depend on its neighbours, wherever in a group of three bytes it begins.
        data = bytes(before) + secret.encode()
        whole = slice((4 * before + 2) // 3, 4 * len(data) // 3)
        yield base64.b64encode(data)[whole]
        yield base64.urlsafe_b64encode(data)[whole]
    for _ in range(DEEPEST_QUOTES + 1):
        yield secret.encode()
        yield json.dumps(secret)[1:-1].encode()
        secret = json.dumps(secret, ensure_ascii=False)[1:-1]

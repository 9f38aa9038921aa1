"""Takes secrets out of what is about to be written, however they are spelt there.

A secret is looked for as it is, in hexadecimal and inside of base64; and once more in what the data says when it is taken for
JSON, for a URL or for HTML: with its escapes resolved, as often as they are nested. So nobody has to list the spellings that a
system may think of, and half of a secret may be escaped and the other half not.
"""

import base64
import re
import urllib.parse
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from chaos.answers import is_json
from chaos.spec.patterns import Pattern, any_of, of_bytes

REDACTED: Final = b"[redacted]"
SHORTEST_SECRET: Final = 8
DEEPEST_QUOTES: Final = 6
BLOCK_SECRETS: Final = 32
"""So many share an expression: a larger one would not fit into what re2 remembers."""

_PREFIX_BYTES: Final = 16
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]*")
_OF_JSON: Final = rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[^ux])"
_OF_URLS: Final = rb"%[0-9a-fA-F]{2}"
_OF_HTML: Final = rb"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|amp|quot|lt|gt|apos);"
_ESCAPE: Final = re.compile(b"|".join((_OF_JSON, _OF_URLS, _OF_HTML)), re.DOTALL)
_ESCAPES_OF_ONE: Final = tuple(re.compile(one, re.DOTALL) for one in (_OF_JSON, _OF_URLS, _OF_HTML))
"""A secret may hold itself what begins an escape of another sort: `%` is nothing but `%` to JSON."""
_ESCAPED_LETTERS: Final = (b"%", b"\\u", b"\\x", b"\\/", b"&#")
_ESCAPED_OTHERS: Final = (b"\\", b"&")
_SHORT: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f"}
_NAMED: Final = {b"amp": b"&", b"quot": b'"', b"lt": b"<", b"gt": b">", b"apos": b"'"}

Place = tuple[int, int, str | None]
"""Where something begins and ends that must not be written, and its name; None is what only looks like a secret."""


class Redactor:
    """Replaces known secrets and what matches a pattern by `[redacted]`.

    `secrets` are texts with the name that each is known by. A group in a pattern is the part of a secret that is
    one by itself.
    """

    def __init__(self, secrets: Mapping[str, str], patterns: Sequence[str]) -> None:
        self.secrets: dict[str, str] = {}
        self._blocks = [_Block(patterns)]
        self._marks: tuple[bytes, ...] = _ESCAPED_LETTERS
        self._escapes: tuple[re.Pattern[bytes], ...] = (_ESCAPE,)
        self._patterns = [of_bytes(pattern) for pattern in patterns]
        for text, name in secrets.items():
            self.keep(text, name)

    def keep(self, text: str, name: str) -> bool:
        """From now on `text` and its parts are secrets; too short ones would redact too much. Whether it is new."""
        if len(text) < SHORTEST_SECRET or text in self.secrets:
            return False
        self.secrets[text] = name
        if not _PLAIN.fullmatch(text):
            self._marks = (*_ESCAPED_LETTERS, *_ESCAPED_OTHERS)
            self._escapes = (_ESCAPE, *_ESCAPES_OF_ONE)
        if self._blocks[-1].secrets >= BLOCK_SECRETS:
            self._blocks.append(_Block(()))
        self._blocks[-1].add(text, name)
        for pattern in self._patterns:
            whole = pattern.fullmatch(text.encode())
            for part in whole.groups() if whole else ():
                self.keep((part or b"").decode(), name)
        return True

    def redact(self, data: bytes) -> bytes:
        """`data` without secrets, however they are spelt in it."""
        places = self._places(data)
        if not places:
            return data
        parts, done = [], 0
        for start, end, _ in sorted(places, key=lambda place: place[:2]):
            if start >= done:
                parts += [data[done:start], REDACTED]
            done = max(done, end)
        return b"".join([*parts, data[done:]])

    def found(self, data: bytes) -> list[str | None]:
        """The names of all secrets in `data`, each once; None stands for what only looks like one.

        Of those that overlap it is the one that has been known for longer.
        """
        names: dict[str | None, None] = {}
        starts: list[int] = []
        ends: list[int] = []
        for start, end, name in sorted(self._places(data), key=lambda place: place[2] is None):
            at = bisect_right(starts, start)
            if (at == 0 or ends[at - 1] <= start) and (at == len(starts) or end <= starts[at]):
                starts.insert(at, start)
                ends.insert(at, end)
                names[name] = None
        return list(names)

    def redact_line(self, line: bytes) -> bytes:
        """The same for one line of JSON, which stays JSON."""
        redacted = self.redact(line)
        if redacted == line or is_json(redacted):
            return redacted
        # A number was a secret, or a pattern went past the end of a text: text by text then.
        return msgspec.json.encode(self._value(msgspec.json.decode(line), depth=0))

    def _places(self, data: bytes) -> list[Place]:
        places = self._literally(data)
        if b"\\" not in data and b"%" not in data and b"&" not in data:
            return places
        if not any(mark in data for mark in self._marks):
            return places
        for escape in self._escapes:
            layers: list[_Layer] = []
            text = data
            while len(layers) < DEEPEST_QUOTES and (layer := _unescaped(text, escape)):
                layers.append(layer)
                text = layer.text
                places += [_origin(layers, place) for place in self._literally(text)]
        return places

    def _literally(self, data: bytes) -> list[Place]:
        return [
            place for block in self._blocks if block.may_be_in(data) for place in block.places(data)
        ]

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


class _Block:
    """Some secrets with all of their spellings, and patterns; one expression says whether any of it may be there."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.secrets = 0
        self._spelt: list[tuple[bytes, str]] = []
        self._written = patterns
        self._patterns = [of_bytes(pattern) for pattern in patterns]
        self._any: Pattern | None = None

    def add(self, secret: str, name: str) -> None:
        """One more."""
        self.secrets += 1
        self._spelt += [(spelling, name) for spelling in spellings(secret)]
        self._any = None

    def may_be_in(self, data: bytes) -> bool:
        """Whether it is worth to look."""
        if self._any is None:
            if not self._spelt and not self._patterns:
                return False
            prefixes = {spelling[:_PREFIX_BYTES] for spelling, _ in self._spelt}
            self._any = any_of(sorted(prefixes), self._written)
        return self._any.search(data) is not None

    def places(self, data: bytes) -> Iterator[Place]:
        """Where they are in `data`."""
        for spelling, name in self._spelt:
            start = data.find(spelling)
            while start >= 0:
                end = start + len(spelling)
                yield start, end, name
                start = data.find(spelling, end)
        for pattern in self._patterns:
            yield from ((*match.span(), None) for match in pattern.finditer(data))


def spellings(secret: str) -> list[bytes]:
    """The secret as it is, as forms spell it, in hexadecimal, and what is certain of it inside of base64."""
    data = secret.encode()
    found = {data, urllib.parse.quote_plus(secret).encode()}
    found |= {data.hex().encode(), data.hex().upper().encode()}
    for before in range(3):
        # What does not depend on its neighbours, wherever in a group of three bytes it begins.
        padded = bytes(before) + data
        whole = slice((4 * before + 2) // 3, 4 * len(padded) // 3)
        found |= {base64.b64encode(padded)[whole], base64.urlsafe_b64encode(padded)[whole]}
    return sorted(found)


class _Layer(Struct, frozen=True):
    """A text with its escapes resolved. Of each, in order: where it stands in the text and ends, and in what it is from."""

    text: bytes
    starts: list[int]
    spans: list[tuple[int, int, int]]

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where a place of the text is from."""
        return self._from(start)[0], self._from(end - 1)[1]

    def _from(self, place: int) -> tuple[int, int]:
        index = bisect_right(self.starts, place) - 1
        if index < 0:
            return place, place + 1
        after, begin, end = self.spans[index]
        if place < after:
            return begin, end
        return end + place - after, end + place - after + 1


def _origin(layers: Sequence[_Layer], place: Place) -> Place:
    """Where a place in the innermost of some layers is from."""
    start, end, name = place
    for layer in reversed(layers):
        start, end = layer.origin(start, end)
    return start, end, name


def _unescaped(data: bytes, escape: re.Pattern[bytes]) -> _Layer | None:
    """`data` with the escapes of one layer resolved; None when there are none."""
    parts: list[bytes] = []
    starts: list[int] = []
    spans: list[tuple[int, int, int]] = []
    done = length = 0
    for match in escape.finditer(data):
        begin, end = match.span()
        stands = _stands_for(match[0])
        parts += [data[done:begin], stands]
        length += begin - done
        starts.append(length)
        length += len(stands)
        spans.append((length, begin, end))
        done = end
    if not spans:
        return None
    return _Layer(b"".join([*parts, data[done:]]), starts, spans)


def _stands_for(escape: bytes) -> bytes:
    """The bytes that one escape stands for."""
    if escape.startswith((b"%", b"\\x")):
        return bytes.fromhex(escape[-2:].decode())
    if escape.startswith(b"&"):
        return _named(escape[1:-1])
    if escape[1:2] == b"u":
        units = b"".join(bytes.fromhex(unit.decode()) for unit in escape.split(b"\\u")[1:])
        return units.decode("utf-16-be", errors="replace").encode()
    return _SHORT.get(escape[1:], escape[1:])


def _named(entity: bytes) -> bytes:
    """The character of an entity of HTML."""
    if not entity.startswith(b"#"):
        return _NAMED[entity]
    digits = entity.removeprefix(b"#").lower()
    number = int(digits.lstrip(b"x"), 16 if digits.startswith(b"x") else 10)
    return chr(min(number, 0x10FFFF)).encode(errors="replace")

"""Keeps secrets out of what leaves the machine: those that are known, and whatever looks like a token of SONIA.

A secret may stand in a text as it is, or escaped as in JSON, percent-encoded, or in base64, also one within the other; then
the word that holds it is replaced. Secrets that belong to somebody else look like nothing in particular and are not found.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote

REDACTED: Final = "[redacted]"
SHORTEST_CHARS: Final = 20
"""No token and no key is shorter than this."""
_DEPTH: Final = 3
_TOKEN: Final = re.compile(
    r"tok_[0-9a-f]+\.[A-Za-z0-9_-]{20,}|(?:[A-Za-z0-9_-]{1,40}\.)?(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"
    r"|(?<=[Bb]earer )\S{8,}|(?<=sonia\.bearer\.)\S+"
)
# Most texts that are long are ids and digests, which are no secrets.
_HARMLESS: Final = re.compile(r"(?:[a-z]{1,8}_)?(?:[0-9a-f]{16}|[0-9a-f]{24}|[0-9a-f]{64})")
_ESCAPED: Final = re.compile(r"\\u([0-9a-fA-F]{4})|\\(/)")
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{24,}(?![A-Za-z0-9+/_-])")
_WORDS: Final = re.compile(r"[^\s\"',;<>(){}\[\]]+")


class Redaction:
    """Replaces secrets in JSON. `secrets` are those that are known, as they are spelt; short ones are left alone."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({each for each in secrets if len(each) >= SHORTEST_CHARS}, key=len)
        spelt = "|".join(re.escape(each) for each in reversed(known))
        self._secret = re.compile(f"{spelt}|{_TOKEN.pattern}" if spelt else _TOKEN.pattern)
        self._known = frozenset(known)

    def clean(self, value: object) -> object:
        """`value`, of dicts, lists and scalars, without secrets."""
        if isinstance(value, str):
            return self.clean_text(value)
        if isinstance(value, list):
            return [self.clean(each) for each in value]
        if isinstance(value, dict):
            return {self.clean_text(str(key)): self.clean(each) for key, each in value.items()}
        return value

    def clean_text(self, text: str) -> str:
        """`text` without secrets."""
        if len(text) < SHORTEST_CHARS:
            return text
        if text not in self._known and _HARMLESS.fullmatch(text):
            return text
        cleaned = self._secret.sub(REDACTED, text)
        if not self._hides(cleaned, _DEPTH):
            return cleaned
        word_by_word = _WORDS.sub(self._word, cleaned)
        # What is spread over several words is not told apart.
        return REDACTED if self._hides(word_by_word, _DEPTH) else word_by_word

    def _word(self, found: "re.Match[str]") -> str:
        word = found[0]
        return REDACTED if word != REDACTED and self._hides(word, _DEPTH) else word

    def _hides(self, text: str, depth: int) -> bool:
        """Whether a secret stands in what `text` says in another spelling."""
        return depth > 0 and any(
            self._secret.search(other) is not None or self._hides(other, depth - 1)
            for other in _decoded(text)
        )


def _decoded(text: str) -> Iterator[str]:
    if "%" in text and (plain := unquote(text)) != text:
        yield plain
    if "\\" in text and (plain := _ESCAPED.sub(_character, text)) != text:
        yield plain
    for run in _BASE64.findall(text):
        yield from _from_base64(run)


def _character(found: "re.Match[str]") -> str:
    return chr(int(found[1], 16)) if found[1] else found[2]


def _from_base64(run: str) -> Iterator[str]:
    """What a run says in base64, wherever in it that begins."""
    alphabet = run.translate(str.maketrans("-_", "+/"))
    for skipped in range(4):
        part = alphabet[skipped:]
        part = part[: len(part) // 4 * 4] if len(part) % 4 == 1 else part + "=" * (-len(part) % 4)
        try:
            plain = base64.b64decode(part)
        except binascii.Error:
            continue
        printable = plain.decode("latin-1")
        if sum(32 <= ord(each) < 127 for each in printable) >= SHORTEST_CHARS:
            yield printable

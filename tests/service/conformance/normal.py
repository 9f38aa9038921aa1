"""What differs from run to run is written by its kind, so that all the rest can be compared word by word."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service import SONIA_VERSION

_ID = re.compile(r"\b(ses|task|conf|tok|run|turn|mem|boot|evt)_[0-9a-f]{16,24}\b")
_REQUEST = re.compile(r"\b(?:req|boot|command|token|cli)_[0-9a-f]{16,24}\b")
_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])(?:tok_[0-9a-f]{16,24}|<tok \d+>)\.[A-Za-z0-9_-]{43}\b")
_VERSION = re.compile(r"\b\d+\.\d+\.\d+\b")
_MOMENT = re.compile(r"\b[12]\d{12}\b")
_SQLITE_WORDS = re.compile(r"\*\*\* in database .*")
_EPOCH_MS = 10**12
_MINUTE_MS = 60_000
# Well apart from what is usual, windows of 30 s and lives of 60 s, so that no answer comes too fast or too late for its word.
_SOON_MS = 40_000
# HMACs hang on a key that is drawn at `sonia init`, seals on secrets; what is hashed without either stays as it is.
_KEYED = frozenset({"hmac", "prev_hmac", "mac", "head", "prev", "sealed"})
_VERSIONED = frozenset({"sqlite_version", "version", "page_count", "confinement"})


class Normal:
    """Rewrites values; an id is numbered when it is first met, so that who is who stays visible."""

    def __init__(self, state: Path) -> None:
        self._state = str(state)
        self._numbers: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def value(self, value: Any, key: str = "") -> Any:
        """`value` as decoded JSON, with what cannot be foreseen replaced."""
        if isinstance(value, Mapping):
            return {self.text(name): self.value(item, name) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, key) for item in value]
        if isinstance(value, str):
            return self._keyed(value, key)
        if isinstance(value, int) and not isinstance(value, bool):
            return _time(value, key)
        return "<varies>" if key in _VERSIONED and value is not None else value

    def text(self, text: str) -> str:
        """`text` with ids, tokens, times in milliseconds and the state directory replaced."""
        text = _TOKEN.sub("<token>", text.replace(self._state, "<state>"))
        text = _REQUEST.sub("<req>", text)
        text = _MOMENT.sub("<time>", _SQLITE_WORDS.sub("…", text))
        return _ID.sub(self._named, text.replace(SONIA_VERSION, "<version>"))

    def _keyed(self, text: str, key: str) -> str:
        if key in _KEYED or (key in _VERSIONED and _VERSION.search(text)):
            return f"<{key}>"
        if key == "confinement":
            return "<varies>"
        return self.text(text)

    def _named(self, found: re.Match[str]) -> str:
        kind = found[1]
        if found[0] not in self._numbers:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._numbers[found[0]] = f"<{kind} {self._counts[kind]}>"
        return self._numbers[found[0]]


def _time(value: int, key: str) -> int | str:
    if key in _VERSIONED and key != "version":
        return "<varies>"
    if key == "retry_after_ms":
        return "<soon>"
    if key.endswith("in_ms"):
        return f"<about {round(value / _MINUTE_MS)} min>"
    if value < _EPOCH_MS:
        return value
    ahead_ms = value - time.time_ns() // 1_000_000
    if ahead_ms < _SOON_MS:
        return "<now>"
    return f"<in {round(ahead_ms / _MINUTE_MS)} min>"

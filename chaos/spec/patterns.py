"""Regular expressions on what a system says: re2's, which take time linear in it, whatever they are.

What re2 refuses (looking around, references back) is no expression here either.
"""

import functools
from typing import Protocol, cast

import re2


class Match(Protocol):
    """What was found."""

    def groups(self) -> tuple[bytes | None, ...]:
        """What its groups hold."""


class Pattern(Protocol):
    """An expression over bytes."""

    def search(self, data: bytes) -> Match | None:
        """The first place where it matches."""

    def fullmatch(self, data: bytes) -> Match | None:
        """Whether all of `data` matches."""

    def sub(self, replacement: bytes, data: bytes) -> bytes:
        """`data` with all that matches replaced."""


def of_bytes(text: str) -> Pattern:
    """An expression over bytes that may be no UTF-8. ValueError says why it is none."""
    return _compiled(text, re2.Options.Encoding.LATIN1)


def found_in(text: str, expression: str) -> bool:
    """Whether the expression matches anywhere in a text. ValueError says why it is none."""
    pattern = _compiled(expression, re2.Options.Encoding.UTF8)
    return pattern.search(text.encode(errors="replace")) is not None


def problem(text: str) -> str | None:
    """Why this is no expression, or None."""
    try:
        of_bytes(text)
        found_in("", text)
    except ValueError as error:
        return str(error)
    return None


@functools.lru_cache(maxsize=256)
def _compiled(text: str, encoding: re2.Options.Encoding) -> Pattern:
    options = re2.Options()
    options.encoding = encoding
    options.log_errors = False
    try:
        return cast(Pattern, re2.compile(text.encode(), options))
    except re2.error as error:
        why = error.args[0] if error.args else ""
        why = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise ValueError(f"{text} is not a regular expression of re2: {why}") from error
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair is not a character") from error

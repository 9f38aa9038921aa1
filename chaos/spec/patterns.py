"""Regular expressions on what a system says: re2's, which take time linear in it, whatever they are.

What re2 refuses (looking around, references back) is no expression here either.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

import re2


class Match(Protocol):
    """What was found."""

    def groups(self) -> tuple[bytes | None, ...]:
        """What its groups hold."""

    def span(self) -> tuple[int, int]:
        """Where it begins and ends."""


class Pattern(Protocol):
    """An expression over bytes."""

    def search(self, data: bytes) -> Match | None:
        """The first place where it matches."""

    def fullmatch(self, data: bytes) -> Match | None:
        """Whether all of `data` matches."""

    def finditer(self, data: bytes) -> Iterator[Match]:
        """Every place where it matches."""


def of_bytes(text: str) -> Pattern:
    """An expression over bytes that may be no UTF-8. ValueError says why it is none."""
    return _compiled(text, re2.Options.Encoding.LATIN1)


def any_of(texts: Sequence[bytes], expressions: Sequence[str] = ()) -> Pattern:
    """What matches any of some bytes, as they are, or of some expressions over bytes."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    each = [*map(re2.escape, texts), *(b"(?:%b)" % one.encode() for one in expressions)]
    return cast(Pattern, re2.compile(b"|".join(each), options))


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

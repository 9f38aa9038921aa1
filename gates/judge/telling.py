"""What an assertion came to, in one line: what was expected, what was found, and of which row that can be seen.

Values are written as SQL has them: NULL is no empty text, `true` is no Python, and a text that looks like a number is quoted.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from gates.judge.result import Status

MOST_CHARACTERS = 80
"""How much of one value a line shows; the report has more, the evidence all of it."""

_PLAIN = re.compile(r"[A-Za-z_/][\w./:@+-]*")
_WORDS = frozenset({"null", "true", "false"})


class Told(Protocol):
    """The result of an assertion, as the judge has it or as the report has it."""

    @property
    def that(self) -> str:
        """The claim."""

    @property
    def status(self) -> Status | str:
        """What it came to."""

    @property
    def expectation(self) -> str:
        """What was to be true; empty where it could not even be read."""

    @property
    def why(self) -> str | None:
        """What was found, or why nothing was."""


def line(own: Told) -> str:
    """The whole of it."""
    expected = f"expected {own.expectation}; " if own.expectation else ""
    found = own.why or "nothing was measured"
    said = found if own.status == "UNKNOWN" else f"found {found}"
    return f"{own.that}: {expected}{said}"


def value(one: object, most_characters: int = MOST_CHARACTERS) -> str:
    """One value of a row."""
    if one is None:
        return "NULL"
    if isinstance(one, bool):
        return "true" if one else "false"
    if isinstance(one, int | float):
        return _number(one)
    if isinstance(one, str):
        return _text(one, most_characters)
    return _cut(json.dumps(one, ensure_ascii=False), most_characters)


def _number(one: float) -> str:
    if isinstance(one, int) or not math.isfinite(one) or one == round(one):
        return str(one).removesuffix(".0")
    return f"{one:.1f}" if abs(one) >= 1000 else f"{one:.4g}"


def _text(one: str, most_characters: int) -> str:
    shown = _cut(" ".join(one.split()) if one.strip() else one, most_characters)
    plain = _PLAIN.fullmatch(shown) and shown.lower() not in _WORDS
    return shown if plain else "'" + shown.replace("'", "''") + "'"


def _cut(text: str, most_characters: int) -> str:
    return text if len(text) <= most_characters else f"{text[: most_characters - 1]}…"


def pairs(row: Mapping[str, object], names: Iterable[str]) -> str:
    """Some columns of a row: `status=200 service_ms=103.7`, at last its `seq`.

    What is to be said of an answer stands in its `error`: without it a body that was cut or decoded looks like any other.
    """
    remark = ["error"] if row.get("error") is not None else []
    shown = dict.fromkeys([*names, *remark, "seq"])
    return " ".join(f"{name}={value(row[name])}" for name in shown if name in row)

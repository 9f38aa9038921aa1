"""Units that specs are written in: `2s`, `60/s`, `20KB`. Each keeps the text it was written as."""

import re
from typing import Final, Self

from chaos import bounds

_NUMBER: Final = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_DURATION: Final = re.compile(rf"({_NUMBER})(ms|s|min|h)")
_DURATION_MS: Final = {"ms": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0}
_RATE: Final = re.compile(rf"({_NUMBER})/(s|min)")
_SIZE: Final = re.compile(r"([0-9]{1,9})(B|KB|MB)")
_SIZE_BYTES: Final = {"B": 1, "KB": 1000, "MB": 1_000_000}


class Unit:
    """A quantity with its unit, equal to another one of the same kind and text.

    `PATTERN` is what the JSON Schema says of the text, `EXAMPLE` what a reader is told.
    """

    __slots__ = ("text",)
    PATTERN = ""
    EXAMPLE = ""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parse(text)

    @classmethod
    def of(cls, text: object) -> Self:
        """The quantity written as `text`; ValueError with an example when it cannot be read."""
        if not isinstance(text, str):
            raise ValueError(f"expected something like {cls.EXAMPLE}, not {text!r}")
        return cls(text)

    def _parse(self, text: str) -> None:
        raise NotImplementedError

    def _refuse(self) -> ValueError:
        return ValueError(f"expected something like {self.EXAMPLE}, not {self.text!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and getattr(other, "text", None) == self.text

    def __hash__(self) -> int:
        return hash((type(self), self.text))


class Duration(Unit):
    """A length of time: `250ms`, `2s`, `1min` or `1h`."""

    __slots__ = ("ms",)
    PATTERN = rf"^{_DURATION.pattern}$"
    EXAMPLE = "250ms, 2s, 1min or 1h"

    def _parse(self, text: str) -> None:
        match = _DURATION.fullmatch(text)
        if match is None:
            raise self._refuse()
        self.ms = float(match[1]) * _DURATION_MS[match[2]]
        if self.ms > bounds.LONGEST_H * _DURATION_MS["h"]:
            raise ValueError(f"{text} is longer than {bounds.LONGEST_H}h")

    @property
    def s(self) -> float:
        """The length in seconds."""
        return self.ms / 1000


class Offset(Unit):
    """How far a clock is off, ahead or, with a minus, behind: `1h`, `-90s`."""

    __slots__ = ("ms",)
    PATTERN = rf"^-?{_DURATION.pattern}$"
    EXAMPLE = "1h, or -90s for a clock that is behind"

    def _parse(self, text: str) -> None:
        match = _DURATION.fullmatch(text.removeprefix("-"))
        if match is None:
            raise self._refuse()
        self.ms = float(match[1]) * _DURATION_MS[match[2]] * (-1 if text.startswith("-") else 1)
        if abs(self.ms) > bounds.FARTHEST_H * _DURATION_MS["h"]:
            raise ValueError(f"{text} is farther off than {bounds.FARTHEST_H}h")


class Rate(Unit):
    """Requests per unit of time, `60/s` or `90/min`; never zero."""

    __slots__ = ("per_s",)
    PATTERN = rf"^{_RATE.pattern}$"
    EXAMPLE = "60/s or 90/min"

    def _parse(self, text: str) -> None:
        match = _RATE.fullmatch(text)
        if match is None or float(match[1]) == 0:
            raise self._refuse()
        self.per_s = float(match[1]) / (1 if match[2] == "s" else 60)


class Size(Unit):
    """A number of bytes, `512B`, `20KB` (1000 bytes each) or `1MB`."""

    __slots__ = ("bytes",)
    PATTERN = rf"^{_SIZE.pattern}$"
    EXAMPLE = "512B, 20KB or 1MB"

    def _parse(self, text: str) -> None:
        match = _SIZE.fullmatch(text)
        if match is None:
            raise self._refuse()
        self.bytes = int(match[1]) * _SIZE_BYTES[match[2]]

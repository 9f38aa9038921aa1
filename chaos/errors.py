"""Everything that can go wrong in the harness itself, drawn once.

    ChaosError
    ├── SpecError          the spec is wrong: all problems with their places      exit 3
    ├── HarnessError       the harness could not do its work: verdict UNKNOWN     exit 4 outside a gate
    │   ├── TargetError    the target did not start, prepare or become ready
    │   └── RecordingError evidence could not be written (disk full, closed)
    └── (ToxiproxyError and its kin live in `chaos.links.proxies`, below HarnessError)

A gate that fails is not an error: it is data.
"""

import os
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading JSON that somebody else wrote may raise; the last one of what is nested too deep."""

Severity: TypeAlias = Literal["error", "warning"]
SHOWN_CHARACTERS: Final = 160
"""So much is shown of a line in which something is wrong."""


class Problem(Struct, frozen=True):
    """One thing wrong with a spec. Line and column count from 1; `source` is the line itself.

    Nothing is run while there is an error; a warning is told and stops nothing.
    """

    file: str
    line: int
    column: int
    message: str
    source: str = ""
    hint: str | None = None
    severity: Severity = "error"

    def render(self) -> str:
        """`file:line:column: message`, then the line with a caret under the place, then the hint."""
        kind = "warning: " if self.severity == "warning" else ""
        text = f"{self.file}:{self.line}:{self.column}: {kind}{self.message}"
        if self.source:
            shown, column = _around(self.source, self.column)
            # Tabs are kept, so that the caret stands under its place however wide they are shown.
            before = "".join("\t" if c == "\t" else " " for c in shown[: column - 1])
            text += f"\n    {shown}\n    {before:<{column - 1}}^"
        if self.hint:
            text += f"\n    did you mean {self.hint!r}?"
        return text


def _around(line: str, column: int) -> tuple[str, int]:
    """What is shown of a line, and where its place is in that: a long one is cut on both sides of it."""
    if len(line) <= SHOWN_CHARACTERS:
        return line, min(column, SHOWN_CHARACTERS)
    column = min(column, len(line) + 1)
    begin = max(0, min(column - 1 - SHOWN_CHARACTERS // 2, len(line) - SHOWN_CHARACTERS))
    end = begin + SHOWN_CHARACTERS
    left, right = "…" if begin else "", "…" if end < len(line) else ""
    return f"{left}{line[begin:end]}{right}", column - begin + len(left)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, by file, line and column."""
    return sorted(set(problems), key=lambda p: (p.file, p.line, p.column, p.message))


def errors_among(problems: Iterable[Problem]) -> list[Problem]:
    """Those that nothing may be run with."""
    return [problem for problem in problems if problem.severity == "error"]


class ChaosError(Exception):
    """Base of everything the harness raises on purpose."""


def told(error: BaseException, path: object = None) -> str:
    """What went wrong, for whoever does not know Python: no name of a class, no number of an error.

    Of which file is told where that is not `path`, which the sentence names already.
    """
    if isinstance(error, OSError) and error.errno:
        is_named = not isinstance(error.filename, str) or error.filename == str(path)
        where = "" if is_named else f"{error.filename}: "
        return f"{where}{os.strerror(error.errno)}"
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"the bytes from place {error.start} on are no {error.encoding.upper()}"
    if isinstance(error, KeyError) and error.args:
        return f"there is no {error.args[0]!r}"
    return str(error) or "no reason was given"


class SpecError(ChaosError):
    """A spec is wrong. Carries every problem found in one pass."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(problem.render() for problem in self.problems))


class HarnessError(ChaosError):
    """The harness could not do its work. Nothing was measured, so nothing passes."""


class TargetError(HarnessError):
    """The target did not prepare, start or become ready."""


class RecordingError(HarnessError):
    """Evidence could not be written."""

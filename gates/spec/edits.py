"""The edit that a defect makes: where its text stands in a file, and the file with it.

Everything that applies a defect, or says why one cannot be applied, asks here.
"""

import ast
import difflib
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from chaos import regular
from chaos.errors import HarnessError, told
from chaos.spec.loader import closest
from gates.spec.gate import Defect
from gates.spec.sources import decoded

ALIKE: Final = 0.5
"""From which share of equal characters on a passage is said to be what was probably meant."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class StaleError(HarnessError):
    """The source has moved on under a defect. `key` is the part of it that does not hold, `hint` what is nearest."""

    def __init__(
        self,
        defect: Defect,
        key: Literal["file", "in", "replace", "with"],
        message: str,
        hint: str | None = None,
    ) -> None:
        self.key = key
        self.message = f"stale: {message}"
        self.hint = hint
        self.why = f"{self.message}, {hint!r}" if hint is not None else self.message
        super().__init__(f"defect {defect.defect!r} is {self.why}")


def stale_among(defects: Iterable[Defect], root: Path) -> dict[str, str]:
    """Why each defect that cannot be made below `root` any more is stale, by name."""
    reasons = {}
    for defect in defects:
        try:
            text, encoding = text_of(defect, root)
            encoded(defect, edited(defect, text), encoding)
        except StaleError as stale:
            reasons[defect.defect] = stale.why
    return reasons


def text_of(defect: Defect, root: Path) -> tuple[str, str]:
    """(text, encoding) of the file below `root` that a defect edits, its line ends as they are. StaleError when it is gone."""
    try:
        return decoded(regular.read(root / defect.file))
    except FileNotFoundError as error:
        raise StaleError(defect, "file", f"there is no file {defect.file}") from error
    except OSError as error:
        raise StaleError(
            defect, "file", f"{defect.file} cannot be read: {told(error, root / defect.file)}"
        ) from error


def encoded(defect: Defect, text: str, encoding: str) -> bytes:
    """The edited text as it is written. StaleError when the encoding of its file has no place for it."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        message = f"{defect.file} is in {encoding}, which has no {character!r}"
        raise StaleError(defect, "with", message) from error


def is_source(path: Path, sources: Iterable[str], root: Path) -> bool:
    """Whether a file is really below the source, whatever links and `..` stand in between."""
    try:
        real = path.resolve()
        return any(real.is_relative_to((root / source).resolve()) for source in sources)
    except (OSError, ValueError):
        # What cannot be the name of a file is none.
        return False


def edited(defect: Defect, text: str) -> str:
    """The text of its file with the edit. StaleError when what is replaced does not stand there exactly once."""
    found = [
        place
        for begin, end in _regions(defect, text)
        for place in _occurrences(defect.replace, text, begin, end)
    ]
    if len(found) != 1:
        raise _stale(defect, text, found)
    return text[: found[0]] + defect.with_ + text[found[0] + len(defect.replace) :]


def _stale(defect: Defect, text: str, found: Sequence[int]) -> StaleError:
    where = f"{defect.in_} of {defect.file}" if defect.in_ is not None else defect.file
    if found:
        lines = ", ".join(str(_line(text, place)) for place in found)
        message = f"the text occurs {len(found)} times in {where} (lines {lines}), not once"
        return StaleError(defect, "replace", message)
    near = nearest(defect.replace, text)
    if near is None:
        return StaleError(defect, "replace", f"the text does not occur in {where}")
    line, passage = near
    message = f"the text does not occur in {where}; nearest is line {line} of the file"
    return StaleError(defect, "replace", message, passage)


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _occurrences(wanted: str, text: str, begin: int, end: int) -> Iterator[int]:
    """Where the text stands between two places, overlapping ones included."""
    place = text.find(wanted, begin, end) if wanted else -1
    while place >= 0:
        yield place
        place = text.find(wanted, place + 1, end)


def nearest(wanted: str, text: str) -> tuple[int, str] | None:
    """(line from 1, passage of as many lines) that is most like a text, or None when nothing is."""
    lines = text.split("\n")
    size = max(1, len(wanted.splitlines()))
    best, most = None, ALIKE
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted.strip())
    for index in range(len(lines) - size + 1):
        passage = "\n".join(lines[index : index + size])
        matcher.set_seq1(passage.strip())
        if matcher.real_quick_ratio() <= most or matcher.quick_ratio() <= most:
            continue
        ratio = matcher.ratio()
        if ratio > most:
            best, most = (index + 1, passage.strip()), ratio
    return best


def _regions(defect: Defect, text: str) -> list[tuple[int, int]]:
    """(begin, end) of the whole lines of what `in` names, in characters; of all of the text without it.

    A name may be defined more than once: a property and its setter, or one function per branch.
    """
    if defect.in_ is None:
        return [(0, len(text))]
    try:
        definitions = defined(text)
    except (SyntaxError, ValueError) as error:
        raise StaleError(defect, "in", f"{defect.file} is no Python: {told(error)}") from error
    found = [lines for name, lines in definitions if name == defect.in_]
    if not found:
        hint = closest(defect.in_, {name for name, _ in definitions})
        raise StaleError(defect, "in", f"{defect.file} defines no {defect.in_}", hint)
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line.decode()))
    return [(starts[lines.start - 1], starts[lines.stop - 1]) for lines in found]


@functools.lru_cache(maxsize=256)
def defined(text: str) -> Sequence[tuple[str, range]]:
    """(dotted name, lines from 1) of every class and function of a module. SyntaxError or ValueError when it is none."""
    return tuple(
        (name, range(_first_line(node), (node.end_lineno or node.lineno) + 1))
        for name, node in _definitions(ast.parse(text.removeprefix("\ufeff")))
    )


def _first_line(node: Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _definitions(node: ast.AST, above: str = "") -> Iterator[tuple[str, Definition]]:
    """(dotted name, node) of every class and function, those in branches and in other functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            name = f"{above}{child.name}"
            yield name, child
            yield from _definitions(child, f"{name}.")
        elif not isinstance(child, ast.expr):
            # Most of a module is expressions, which define nothing with a name.
            yield from _definitions(child, above)

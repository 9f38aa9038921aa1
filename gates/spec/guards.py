"""Which code implements a gate's claim, by what it says under `guards`: files, folders, or `FILE:DEFINITION`."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from chaos import regular
from gates.spec.edits import defined
from gates.spec.sources import decoded


class Guarded(Struct, frozen=True):
    """Modules, by their paths from the project's root, and which lines of each are guarded; None are all of them."""

    lines: dict[str, frozenset[int] | None]

    def covers(self, file: str, line: int) -> bool:
        """Whether this line, counted from 1, is guarded."""
        lines = self.lines.get(file, frozenset())
        return lines is None or line in lines

    def leaves(self, file: str) -> bool:
        """Whether anything of a module is not guarded."""
        return self.lines.get(file, frozenset()) is not None


def guarded(names: Iterable[str], root: Path) -> Guarded:
    """What these names stand for. A definition that is gone guards nothing; `lint` tells."""
    found: dict[str, frozenset[int] | None] = {}
    for name in names:
        path, colon, definition = name.partition(":")
        for module in modules([path], root):
            before = found.get(module, frozenset())
            if not colon or before is None:
                found[module] = None
            else:
                found[module] = before | definitions(root / module).get(definition, frozenset())
    return Guarded(dict(sorted(found.items())))


def modules(names: Iterable[str], root: Path) -> list[str]:
    """The Python modules that files and folders below `root` stand for, as paths from there, in order."""
    paths: set[Path] = set()
    for name in names:
        path = root / name
        paths |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return sorted(str(path.relative_to(root)) for path in paths if path.suffix == ".py")


def definitions(module: Path) -> dict[str, frozenset[int]]:
    """The lines of each class and function of a module, by dotted name; none where it is no Python."""
    found: dict[str, frozenset[int]] = {}
    with contextlib.suppress(SyntaxError, ValueError):
        for name, lines in defined(decoded(regular.read(module))[0]):
            found[name] = found.get(name, frozenset()).union(lines)
    return found

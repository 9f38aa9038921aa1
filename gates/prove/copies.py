"""Throw-away copies of the system under test, with or without a defect."""

import ast
import difflib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from chaos.errors import HarnessError, told
from gates.spec.edits import edited, encoded, is_source, text_of
from gates.spec.gate import Defect
from gates.spec.sources import entries

_BYTECODE = shutil.ignore_patterns("__pycache__", "*.pyc")


class Edit(Struct, frozen=True):
    """What a defect changed: its unified diff, and the lines of the edited file that are the edit's own."""

    file: str
    diff: str
    lines: tuple[int, ...]


def copy_sources(root: Path, sources: list[str], into: Path) -> None:
    """Copy files and trees of the source, without any bytecode, so that a copy never runs what was compiled before.

    A link becomes a copy of what it leads to, so that no edit reaches the original: HarnessError for one that leads
    out of the source, or to what it stands in.
    """
    for entry in entries(root, sources):
        place, copy = root / entry, into / entry
        copy.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink():
            _require_inside(place, root, sources)
        if place.is_file():
            shutil.copy2(place, copy)
            continue
        for link in links_below(place):
            _require_inside(link, root, sources)
        try:
            shutil.copytree(place, copy, ignore=_BYTECODE, dirs_exist_ok=True)
        except OSError as error:
            raise HarnessError(f"{entry} cannot be copied: {told(error)}") from error


def links_below(place: Path) -> Iterator[Path]:
    """Every symbolic link below a directory; none is followed."""
    for directory, directories, files in os.walk(place):
        for name in (*directories, *files):
            path = Path(directory, name)
            if path.is_symlink():
                yield path


def _require_inside(link: Path, root: Path, sources: list[str]) -> None:
    real = link.resolve()
    if (
        not is_source(link, sources, root)
        or not real.exists()
        or link.parent.resolve().is_relative_to(real)
    ):
        shown = link.relative_to(root)
        raise HarnessError(f"{shown} is a link to {link.readlink()}, which no copy can hold")


def apply(defect: Defect, root: Path) -> Edit:
    """Make the edit below `root`. StaleError when it cannot be made there any more."""
    before, encoding = text_of(defect, root)
    after = edited(defect, before)
    (root / defect.file).write_bytes(encoded(defect, after, encoding))
    return Edit(defect.file, diff_of(defect.file, before, after), edited_lines(before, after))


def diff_of(file: str, before: str, after: str) -> str:
    """The edit as a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{file}", f"b/{file}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def edited_lines(before: str, after: str) -> tuple[int, ...]:
    """Lines of `after` whose execution means that the edit was executed, counted from 1.

    These are the lines of the statements that the edit touches; of a compound statement only its head.
    Where the edit removed something, the statement that now stands in its place counts.
    """
    old, new = before.splitlines(), after.splitlines()
    changed: set[int] = set()
    for tag, _, _, begin, end in difflib.SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if tag != "equal":
            changed.update(range(begin + 1, max(end, begin + 1) + 1))
    try:
        tree = ast.parse(after)
    except SyntaxError:
        return tuple(sorted(changed))
    spans = [span for span in _spans(tree) if changed & set(span)]
    return tuple(sorted({line for span in spans for line in span} or changed))


def _spans(tree: ast.AST) -> Iterator[range]:
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = node.end_lineno or node.lineno
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                first_of_body = body[0]
                decorators = getattr(first_of_body, "decorator_list", [])
                last = min([first_of_body.lineno, *(item.lineno for item in decorators)]) - 1
            yield range(node.lineno, max(last, node.lineno) + 1)

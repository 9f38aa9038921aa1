"""The files of a target's source: which they are, and their text in whatever encoding."""

import io
import os
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from chaos import regular

MADE: Final = frozenset({"releases", "runs"})
"""What the harness writes beside the specs: no part of a source that is the whole project."""
BYTECODE: Final = "__pycache__"
ANY_BYTES: Final = "latin-1"


def entries(root: Path, sources: Iterable[str]) -> Iterator[str]:
    """Files and folders from `root`: a source itself, and of the project as a whole what is in it, but for what is hidden or made."""
    for source in sources:
        if (root / source).resolve() != root.resolve():
            yield source
            continue
        names = sorted(path.name for path in root.iterdir())
        yield from (name for name in names if not name.startswith(".") and name not in MADE)


def files_below(root: Path, sources: Iterable[str]) -> Iterator[Path]:
    """Every file of the sources, in order, bytecode left out."""
    for entry in entries(root, sources):
        place = root / entry
        if BYTECODE not in place.parts:
            yield from [place] if place.is_file() else map(Path, _below(str(place)))


def _below(directory: str) -> Iterator[str]:
    """Its files and those of its folders, in the order of their paths; what cannot be listed has none."""
    try:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        if entry.name == BYTECODE:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path)
        elif entry.is_file(follow_symlinks=False) or regular.is_regular(Path(entry.path)):
            yield entry.path


def decoded(data: bytes) -> tuple[str, str]:
    """(text, encoding), so that the text in the encoding is `data` again: the one it declares, UTF-8, or a character for each byte."""
    for encoding in (_declared(data), "utf-8"):
        try:
            text = data.decode(encoding)
            if text.encode(encoding) == data:
                return text, encoding
        except (UnicodeError, LookupError):
            continue
    return data.decode(ANY_BYTES), ANY_BYTES


def _declared(data: bytes) -> str:
    """What Python's rule for sources says, PEP 263, which editors follow elsewhere, too."""
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError:
        return "utf-8"

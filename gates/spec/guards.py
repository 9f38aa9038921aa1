"""Which modules implement a gate's claim, by what it says under `guards`."""

from collections.abc import Iterable
from pathlib import Path


def guarded_modules(names: Iterable[str], root: Path) -> list[str]:
    """The Python modules that files and folders below `root` stand for, as paths from there, in order."""
    paths: set[Path] = set()
    for name in names:
        path = root / name
        paths |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return sorted(str(path.relative_to(root)) for path in paths if path.suffix == ".py")


def rest_of(sources: Iterable[str], guarded: Iterable[str], root: Path) -> list[str]:
    """The modules of the source that are not among the guarded ones."""
    left_out = set(guarded)
    return [name for name in guarded_modules(sources, root) if name not in left_out]

"""Files that are there as a whole, and stay there over a power cut, or are not there at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST
from pathlib import Path
from typing import Final

_JOURNALS: Final = ("-wal", "-shm", "-journal")


def of_database(path: Path) -> tuple[Path, ...]:
    """The files of an SQLite database: `path` first, then its journals, without which it may be another one."""
    return (path, *(path.with_name(path.name + end) for end in _JOURNALS))


def remove_database(path: Path) -> None:
    """Remove a database that nobody has open: a journal that stayed would be taken for that of the next one of its name."""
    for each in of_database(path):
        each.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Force the names in a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Name an empty file of this user alone beside `path`; once it is written to its end, and on disk, it is `path`.

    What a kill has left of an earlier one is removed. Raises OSError, also when `path` is there already.
    """
    if os.path.lexists(path):
        raise FileExistsError(EEXIST, "it is there already", str(path))
    with _replacing(path) as part:
        yield part


def write_new(path: Path, content: bytes) -> None:
    """Make a file of this user alone. Raises OSError, also when it is there already."""
    with appearing(path) as part:
        part.write_bytes(content)


def replace(path: Path, content: bytes) -> None:
    """Put a new file of this user alone in the place of `path`: whoever reads it finds the one or the other, whole."""
    with _replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(part, flags, 0o600)
    try:
        yield part
        os.fsync(descriptor)
        if os.fstat(descriptor).st_nlink == 0:
            raise FileExistsError(EEXIST, "somebody else writes it", str(path))
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    sync_directory(path.parent)

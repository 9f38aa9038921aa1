"""Files that are there as a whole, and stay there over a power cut, or are not there at all."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Force the names in a directory to disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Force what is in a file to disk."""
    _sync(path, os.O_RDONLY)


def write_new(path: Path, content: bytes) -> None:
    """Make a file of this user alone, with its name on disk. Raises OSError, also when it is there already."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

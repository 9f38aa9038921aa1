"""How much a directory holds. The standard library alone: the keeper starts with it."""

import os
import stat

BLOCK_BYTES = 512
# What cannot be measured counts as more than any bound.
BEYOND = 1 << 62


class Usage:
    """Bytes on disk, and names: files, directories and links."""

    def __init__(self, used_bytes: int, files: int) -> None:
        self.used_bytes = used_bytes
        self.files = files

    def within(self, bound: "Usage") -> bool:
        """Whether neither is above `bound`."""
        return self.used_bytes <= bound.used_bytes and self.files <= bound.files


def measure(root: str, bound: Usage) -> Usage:
    """What is below `root`; no further than it takes to know that it is above `bound`.

    A directory whose owner took away his own right to read it gets that right back. One that cannot be read for another reason,
    such as a path that is too long, counts as beyond every bound.
    """
    usage = Usage(0, 0)
    waiting = [root]
    while waiting and usage.within(bound):
        try:
            _count(waiting.pop(), usage, waiting)
        except OSError:
            return Usage(BEYOND, BEYOND)
    return usage


def _count(directory: str, usage: Usage, waiting: list[str]) -> None:
    try:
        entries = os.scandir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        _make_readable(directory)
        entries = os.scandir(directory)
    with entries:
        for entry in entries:
            _add(entry, usage, waiting)


def _add(entry: "os.DirEntry[str]", usage: Usage, waiting: list[str]) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    usage.files += 1
    usage.used_bytes += status.st_blocks * BLOCK_BYTES
    if stat.S_ISDIR(status.st_mode):
        waiting.append(entry.path)


def _make_readable(directory: str) -> None:
    opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.chmod(f"/proc/self/fd/{opened}", 0o700)  # noqa: PTH101 - of what was opened, and nothing that took its name
    finally:
        os.close(opened)

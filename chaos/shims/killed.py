"""Runs a Python module, as `python -m` does, and kills the process when it is about to change a directory for the n-th time.

    python -m chaos.shims.killed /var/lib/state 7 service migrate up

What SQLite does to files through apsw counts (writes, truncations, syncs, deletions), and what Python does: opening to write,
renaming, removing, writing and syncing. Whoever changes nothing so often is not killed.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import apsw

_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.truncate"})
_BASE = apsw.vfs_names()[0]
_WRITES = os.O_WRONLY | os.O_RDWR


class _Countdown:
    """Kills this process at the n-th change of something in the directory."""

    def __init__(self, directory: str, last: int) -> None:
        self._directory = os.path.realpath(directory) + os.sep
        self._last = last
        self._count = count(1)

    def change(self, path: object) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            inside = os.path.realpath(os.fsdecode(path)).startswith(self._directory)
            if inside and next(self._count) == self._last:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and arguments[2] & _WRITES):
            self.change(arguments[0])

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of a descriptor, which counts."""

        def call(descriptor: int, *more: Any) -> Any:
            self.change(f"/proc/self/fd/{descriptor}")
            return function(descriptor, *more)

        return call


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], countdown: _Countdown) -> None:
        super().__init__(_BASE, name, flags)
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._countdown = countdown

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's names
        self._countdown.change(self._name)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._countdown.change(self._name)
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._countdown.change(self._name)
        super().xTruncate(size)


class _Files(apsw.VFS):
    def __init__(self, countdown: _Countdown) -> None:
        self._countdown = countdown
        super().__init__("killed", _BASE, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802
        return _File(name, flags, self._countdown)

    def xDelete(self, name: str, sync_directory: bool) -> None:  # noqa: N802
        self._countdown.change(name)
        super().xDelete(name, sync_directory)


def kill_at(directory: str, last: int) -> apsw.VFS:
    """Have this process killed when it is about to change `directory` for the `last` time, as long as what is returned is kept."""
    countdown = _Countdown(directory, last)
    files = _Files(countdown)
    sys.addaudithook(countdown.audit)
    for name in ("write", "fsync", "fdatasync"):
        setattr(os, name, countdown.counted(getattr(os, name)))
    return files


def main() -> None:
    """Load it into this process, then be the module."""
    directory, last, module, *arguments = sys.argv[1:]
    files = kill_at(directory, int(last))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    del files


if __name__ == "__main__":
    main()

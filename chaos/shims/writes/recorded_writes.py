"""A VFS of SQLite that writes down what is done to one database: each write, sync, truncation and deletion, in order.

It needs nothing but apsw. In a directory, `operations.jsonl` has a line of each operation, `bytes` what was written, one after
the other. A write stands there before it is made, a sync when it is over: what a killed process leaves is never more
durable than it was.
"""

import json
import os
import threading
import time
from typing import Any, Final, Self

import apsw

ENDS: Final = {"": "main", "-wal": "wal", "-journal": "journal"}
"""What the names of a database's files end with, and what they are called."""


class Recording:
    """Where operations on the files of `database` are written down; one at a time, whichever thread asks for them."""

    def __init__(self, database: str, out: str) -> None:
        self.parts = {os.path.realpath(database) + end: part for end, part in ENDS.items()}
        self._lock = threading.Lock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._lines = os.open(os.path.join(out, "operations.jsonl"), flags, 0o600)  # noqa: PTH118 - pathlib would be imported for it
        self._bytes = os.open(os.path.join(out, "bytes"), flags, 0o600)  # noqa: PTH118

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def add(self, part: str, did: str, at_byte: int, size: int, data: Any = b"") -> None:
        """Write down one operation; whoever calls holds the lock."""
        if data:
            left = memoryview(data)
            while left:
                left = left[os.write(self._bytes, left) :]
        row = {
            "part": part,
            "did": did,
            "at_byte": at_byte,
            "size": size,
            "at_s": time.monotonic(),
        }
        os.write(self._lines, json.dumps(row).encode() + b"\n")


class RecordedFile(apsw.VFSFile):
    """One of the files, opened once more."""

    def __init__(self, recording: Recording, part: str, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._recording = recording
        self._part = part
        # The first sync of a journal that may be new is one of its directory as well.
        self._may_be_new = part != "main" and bool(flags[0] & apsw.SQLITE_OPEN_CREATE)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write, and say so before."""
        with self._recording as recording:
            recording.add(self._part, "write", offset, len(data), data)
            super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Truncate, and say so before."""
        with self._recording as recording:
            recording.add(self._part, "truncate", newsize, 0)
            super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Sync, and say so when it is over."""
        with self._recording as recording:
            super().xSync(flags)
            recording.add(self._part, "sync", 0, 0)
            if self._may_be_new:
                recording.add(self._part, "sync_directory", 0, 0)
                self._may_be_new = False


class RecordedVFS(apsw.VFS):
    """The usual VFS but for the files of one database; the default of the process as long as it is not unregistered."""

    def __init__(self, recording: Recording, name: str = "recorded") -> None:
        self._recording = recording
        super().__init__(name, "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """Open a file, one of those that are recorded or another."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        part = self._recording.parts.get(path or "")
        if part is None:
            return apsw.VFSFile("unix", name, flags)
        return RecordedFile(self._recording, part, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's own
        """Delete a file. A deletion that is not synced with its directory may come undone."""
        part = self._recording.parts.get(filename)
        if part is None:
            super().xDelete(filename, syncdir)
            return
        with self._recording as recording:
            recording.add(part, "delete", 0, 0)
            super().xDelete(filename, syncdir)
            if syncdir:
                recording.add(part, "sync_directory", 0, 0)

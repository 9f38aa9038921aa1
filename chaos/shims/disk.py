"""What a disk holds of a SQLite database when power is lost: only what was synced, and of the rest what chance has left.

A process is started so that it writes down what it does to the database (`writes/`); from the files as they were before
and from these operations follows what the files are after any of them.
"""

import random
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from chaos import regular
from chaos.errors import HarnessError

SHIM: Final = Path(__file__).resolve().parent / "writes"
SECTOR_BYTES: Final = 512
"""What a disk writes as a whole or not at all."""

Part: TypeAlias = Literal["main", "wal", "journal"]
Files: TypeAlias = dict[Part, bytes]
"""The content of the files that are there."""

ENDS: Final[dict[Part, str]] = {"main": "", "wal": "-wal", "journal": "-journal"}


class Operation(msgspec.Struct, frozen=True):
    """What was done to a file: `size` bytes written at `at_byte`, or truncated to `at_byte`; `at_s` on the monotonic clock."""

    part: Part
    did: Literal["write", "truncate", "sync", "delete", "sync_directory", "dropped"]
    at_byte: int
    size: int
    at_s: float
    data: bytes = b""


class Disk:
    """One recording of `database` in `directory`, which is made for it: it begins with the files as they are now."""

    def __init__(self, database: Path, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.database = database
        self.directory = directory
        self._before = read_files(database)
        self._dropped: list[Operation] = []

    @property
    def environment(self) -> dict[str, str]:
        """What a process is started with that is to be recorded."""
        return {
            "PYTHONPATH": str(SHIM),
            "CHAOS_WRITES_OF": str(self.database),
            "CHAOS_WRITES_OUT": str(self.directory),
        }

    def operations(self) -> list[Operation]:
        """All that was done until now; a last line that its writer did not finish is left out."""
        path = self.directory / "operations.jsonl"
        if not path.exists():
            return []
        told, data = regular.read(path), regular.read(self.directory / "bytes")
        found, position = [], 0
        for line in told[: told.rfind(b"\n") + 1].splitlines():
            operation = msgspec.json.decode(line, type=Operation)
            end = position + operation.size
            found.append(msgspec.structs.replace(operation, data=data[position:end]))
            position = end
        return found

    def after(self, operations: Sequence[Operation], chance: random.Random | None = None) -> Files:
        """The files when power is lost after `operations`.

        What was not synced is dropped; with `chance`, each sector of it has been written or has not.
        """
        found: Files = {}
        for part in ENDS:
            synced, lost = split(operations, part)
            written = [each for one in lost for each in _sectors(one)] if chance else []
            kept = [one for one in written if chance and chance.random() < 0.5]
            content = _done(self._before.get(part), [*synced, *kept])
            if content is not None:
                found[part] = content
        return found

    def told(self) -> list[Operation]:
        """All that was done, and what `lose_power` has taken of it."""
        return [*self.operations(), *self._dropped]

    def lose_power(self) -> None:
        """Make the files what they are when power is lost now; whoever wrote them has ended.

        HarnessError when they are not what the recorded operations have made of them: then it is not known what was synced.
        """
        operations, found = self.operations(), read_files(self.database)
        # The last may have been written down and not been done any more.
        if found not in (self.as_written(operations), self.as_written(operations[:-1])):
            raise HarnessError(f"somebody else has written to {self.database.name}, too")
        put_files(self.after(operations), self.database)
        for part in ENDS:
            lost = sum(one.size for one in split(operations, part)[1])
            self._dropped.append(Operation(part, "dropped", 0, lost, time.monotonic()))

    def as_written(self, operations: Sequence[Operation]) -> Files:
        """The files after `operations` while power stays."""
        found: Files = {}
        for part in ENDS:
            content = _done(self._before.get(part), [one for one in operations if one.part == part])
            if content is not None:
                found[part] = content
        return found


def read_files(database: Path) -> Files:
    """The files of a database that are there."""
    paths = {part: database.with_name(database.name + end) for part, end in ENDS.items()}
    return {part: regular.read(path) for part, path in paths.items() if path.exists()}


def put_files(files: Files, database: Path) -> None:
    """Make the files of a database these; its index in shared memory is none of what a disk holds.

    A new file gets the permissions of the database, as from SQLite.
    """
    for part, end in ENDS.items():
        path = database.with_name(database.name + end)
        if part in files:
            is_new = not path.exists()
            path.write_bytes(files[part])
            if is_new and part != "main":
                path.chmod(database.stat().st_mode & 0o777)
        else:
            path.unlink(missing_ok=True)
    database.with_name(f"{database.name}-shm").unlink(missing_ok=True)


def split(operations: Sequence[Operation], part: Part) -> tuple[list[Operation], list[Operation]]:
    """What was done to a file and is certainly on the disk, and what was done to it after that.

    A sync makes everything before it certain, one of the directory makes certain that what was deleted is gone.
    """
    certain = deleted = 0
    of_it: list[Operation] = []
    for operation in operations:
        if operation.part == part:
            of_it.append(operation)
        if operation.did == "sync_directory":
            certain = max(certain, deleted)
        elif operation.part == part and operation.did == "sync":
            certain = len(of_it)
        elif operation.part == part and operation.did == "delete":
            deleted = len(of_it)
    return of_it[:certain], of_it[certain:]


def _sectors(operation: Operation) -> list[Operation]:
    """What of an operation happens by itself: sectors of a write, anything else as a whole."""
    if operation.did != "write":
        return [operation]
    start, end = operation.at_byte, operation.at_byte + operation.size
    edges = [start, *range(start - start % SECTOR_BYTES + SECTOR_BYTES, end, SECTOR_BYTES), end]
    return [
        msgspec.structs.replace(
            operation,
            at_byte=one,
            size=next_ - one,
            data=operation.data[one - start : next_ - start],
        )
        for one, next_ in pairwise(edges)
    ]


def _done(before: bytes | None, operations: Sequence[Operation]) -> bytes | None:
    content = None if before is None else bytearray(before)
    for operation in operations:
        if operation.did == "delete":
            content = None
        elif operation.did == "write":
            content = bytearray() if content is None else content
            _extend(content, operation.at_byte)
            content[operation.at_byte : operation.at_byte + operation.size] = operation.data
        elif operation.did == "truncate" and content is not None:
            _extend(content, operation.at_byte)
            del content[operation.at_byte :]
    return None if content is None else bytes(content)


def _extend(content: bytearray, size: int) -> None:
    """What was never written reads as zeros."""
    content.extend(bytes(max(0, size - len(content))))

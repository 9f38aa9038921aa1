"""Checkpoints: the chain's head, authenticated and written outside the database.

One JSON object a line, appended after COMMIT. A log cut off below its last checkpoint, or a
database put back from a copy, no longer holds the row that the checkpoint names.
"""

import hashlib
import hmac
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from service.audit.chain import Head
from service.errors import StateDamaged


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The head at `seq`; `mac` authenticates it with the audit key."""

    seq: int
    hmac: str
    mac: str


def checkpoint_mac(key: bytes, seq: int, row_hmac: str) -> str:
    """The MAC a checkpoint must carry, in hex."""
    return hmac.digest(key, f"checkpoint:{seq}:{row_hmac}".encode(), hashlib.sha256).hex()


class CheckpointWriter:
    """Appends checkpoints: every `every` rows, and whenever asked."""

    def __init__(self, path: Path, key: bytes, every: int) -> None:
        self._path = path
        self._key = key
        self._every = every

    def start(self) -> None:
        """Take up after the newest checkpoint in the file, dropping a line that a crash cut off."""
        if self._path.exists():
            whole = self._path.read_bytes().rfind(b"\n") + 1
            os.truncate(self._path, whole)
        self._last_seq = max(
            (checkpoint.seq for checkpoint in read_checkpoints(self._path)), default=0
        )

    def advance(self, head: Head) -> None:
        """Write a checkpoint when `every` rows have been committed since the last."""
        if head.seq - self._last_seq >= self._every:
            self.write(head)

    def write(self, head: Head) -> None:
        """Write a checkpoint now, and force it to disk; nothing when the head did not move."""
        if head.seq <= self._last_seq:
            return
        line = msgspec.json.encode(
            Checkpoint(head.seq, head.hmac, checkpoint_mac(self._key, head.seq, head.hmac))
        )
        descriptor = os.open(
            self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(descriptor, line + b"\n")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._last_seq = head.seq


def read_checkpoints(path: Path) -> Iterator[Checkpoint]:
    """Yield the file's checkpoints in order; a missing file has none.

    A last line without its newline was cut off by a crash and is left out. Raises StateDamaged
    for any other line that is not a checkpoint.
    """
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            yield msgspec.json.decode(line, type=Checkpoint)
        except msgspec.MsgspecError as wrong:
            raise StateDamaged(f"{path.name} line {number} is not a checkpoint: {wrong}") from wrong

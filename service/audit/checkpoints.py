"""Checkpoints: the chain's head, authenticated and written outside the database.

One JSON object a line, appended after COMMIT. A log cut off below its last checkpoint, or a
database put back from a copy, no longer holds the row that the checkpoint names.

A line counts from its newline on. What a crash or a full disk has left of one is no checkpoint and no damage: whoever
appends next puts it beside the file first, where it stays. Only one process appends at a time.
"""

import fcntl
import hashlib
import hmac
import os
import re
from pathlib import Path
from typing import Final

import msgspec

from service.audit.chain import Head
from service.errors import StateDamaged
from service.files import sync_directory

_BEGUN: Final = re.compile(rb'\{"seq":([0-9]+)')


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The head at `seq`; `mac` authenticates it with the audit key."""

    seq: int
    hmac: str
    mac: str


class Checkpoints(msgspec.Struct, frozen=True):
    """What the file holds: whole checkpoints in order, and what is left of a line that was not written to its end."""

    whole: tuple[Checkpoint, ...] = ()
    torn: bytes = b""

    @property
    def last_seq(self) -> int:
        """The newest row that a checkpoint names; 0 without any."""
        return max((each.seq for each in self.whole), default=0)

    @property
    def begun_seq(self) -> int:
        """The row that the torn line was about, or the first digits of its number: it was committed before; 0 without."""
        found = _BEGUN.match(self.torn)
        return int(found[1]) if found else 0


def checkpoint_mac(key: bytes, seq: int, row_hmac: str) -> str:
    """The MAC a checkpoint must carry, in hex."""
    return hmac.digest(key, f"checkpoint:{seq}:{row_hmac}".encode(), hashlib.sha256).hex()


class CheckpointWriter:
    """Appends checkpoints of heads that were checked: every `every` rows after `last_seq`, and whenever asked."""

    def __init__(self, path: Path, key: bytes, every: int, last_seq: int) -> None:
        self._path = path
        self._key = key
        self._every = every
        self._last_seq = self._tried_seq = last_seq

    def advance(self, head: Head) -> None:
        """Write a checkpoint when `every` rows have been committed since the last, or since one that failed."""
        if head.seq - self._tried_seq >= self._every:
            self.write(head)

    def write(self, head: Head) -> None:
        """Write a checkpoint now, and force it to disk; nothing when the head did not move. Raises OSError."""
        if head.seq <= self._last_seq:
            return
        self._tried_seq = head.seq
        mac = checkpoint_mac(self._key, head.seq, head.hmac)
        _append(self._path, msgspec.json.encode(Checkpoint(head.seq, head.hmac, mac)) + b"\n")
        self._last_seq = head.seq


def _append(path: Path, line: bytes) -> None:
    """Add `line` to the end of the file, whole and on disk, or not at all. Raises OSError."""
    descriptor = os.open(
        path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _mend(path, descriptor)
        length = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, line)
        except OSError:
            os.ftruncate(descriptor, length)
            raise
        if not length:
            sync_directory(path.parent)
    finally:
        os.close(descriptor)


def _mend(path: Path, descriptor: int) -> None:
    """End the file with a whole line: what is left of a torn one goes into a file beside it."""
    length = os.fstat(descriptor).st_size
    if not length or os.pread(descriptor, 1, length - 1) == b"\n":
        return
    content = os.pread(descriptor, length, 0)
    whole = content.rfind(b"\n") + 1
    if _decoded(content[whole:]) is not None:
        _write_all(descriptor, b"\n")
        return
    beside = os.open(
        path.with_name(path.name + ".torn"),
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o600,
    )
    try:
        _write_all(beside, content[whole:] + b"\n")
    finally:
        os.close(beside)
    sync_directory(path.parent)
    os.ftruncate(descriptor, whole)


def _write_all(descriptor: int, content: bytes) -> None:
    written = os.write(descriptor, content)
    if written != len(content):
        raise OSError(f"only {written} of {len(content)} bytes could be written")
    os.fsync(descriptor)


def _decoded(line: bytes) -> Checkpoint | None:
    try:
        return msgspec.json.decode(line, type=Checkpoint)
    except msgspec.MsgspecError:
        return None


def read_checkpoints(path: Path) -> Checkpoints:
    """Read the file's checkpoints; a missing file has none.

    A last line that lacks nothing but its newline counts. Raises StateDamaged for a file that cannot be read, and for
    any other line that is not a checkpoint.
    """
    *lines, last = _content(path).split(b"\n")
    whole = []
    for number, line in enumerate(lines, start=1):
        try:
            whole.append(msgspec.json.decode(line, type=Checkpoint))
        except msgspec.MsgspecError as wrong:
            raise StateDamaged(f"{path.name} line {number} is not a checkpoint: {wrong}") from wrong
    unended = _decoded(last)
    return Checkpoints((*whole, unended) if unended else tuple(whole), b"" if unended else last)


def _content(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    except OSError as wrong:
        raise StateDamaged(f"{path.name} cannot be read: {wrong.strerror}") from wrong
    with os.fdopen(descriptor, "rb") as file:
        try:
            # Whoever appends has it locked until the line is whole.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            return file.read()
        except OSError as wrong:
            raise StateDamaged(f"{path.name} cannot be read: {wrong.strerror}") from wrong

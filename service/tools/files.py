"""`file.read` and `file.write`. Blocking: run them in a thread."""

import base64
import hashlib
import os
import secrets

from service.messages.tool_table import FileRead, FileWrite
from service.tools.workspace import Workspace, WorkspaceFull, require_plain_file

BLOCK_BYTES = 65536


class EffectMissing(Exception):
    """The tool ended without an error, and what it should have left is not there."""


def read_file(workspace: Workspace, call: FileRead) -> dict[str, object]:
    """At most `max_bytes` of a file: as text where it is UTF-8, else in base64.

    Raises PathOutside, NotAFile, OSError.
    """
    with workspace.file(call.path, os.O_RDONLY) as descriptor:
        content = _read_at_most(descriptor, call.max_bytes)
        size_bytes = os.fstat(descriptor).st_size
    try:
        text, encoding = content.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(content).decode(), "base64"
    return {
        "path": call.path,
        "content": text,
        "encoding": encoding,
        "read_bytes": len(content),
        "size_bytes": size_bytes,
        "truncated": len(content) < size_bytes,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def write_file(workspace: Workspace, call: FileWrite) -> dict[str, object]:
    """Write, force to disk, open again by path, compare; `sha256` is of what was read back.

    A replaced file is exchanged in one step: a reader sees the old content or the new. Raises PathOutside,
    WorkspaceFull, NotAFile, OSError, EffectMissing.
    """
    content = call.content.encode()
    if not workspace.has_room(len(content)):
        raise WorkspaceFull("the workspace holds as much as it may; nothing was written")
    start_bytes = (
        _append(workspace, call.path, content)
        if call.append
        else _replace(workspace, call.path, content)
    )
    return {
        "path": call.path,
        "written_bytes": len(content),
        "sha256": verify_written(workspace, call.path, content, start_bytes),
        "verified": True,
    }


def verify_written(workspace: Workspace, path: str, content: bytes, start_bytes: int) -> str:
    """Check that the file at `path` holds `content` from `start_bytes` to its end; returns its SHA-256.

    Raises EffectMissing when it does not, PathOutside, NotAFile or OSError when it cannot be read.
    """
    with workspace.file(path, os.O_RDONLY) as descriptor:
        os.lseek(descriptor, start_bytes, os.SEEK_SET)
        held = _read_at_most(descriptor, len(content) + 1)
    if held != content:
        raise EffectMissing(f"{path} does not hold what was written")
    return hashlib.sha256(held).hexdigest()


def _replace(workspace: Workspace, path: str, content: bytes) -> int:
    with workspace.directory_of(path, make=True) as (directory, name):
        _require_replaceable(directory, name)
        temporary = f".{secrets.token_hex(8)}.part"
        descriptor = os.open(
            temporary,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o644,
            dir_fd=directory,
        )
        try:
            _write_all(descriptor, content)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(temporary, dir_fd=directory)
            raise
        finally:
            os.close(descriptor)
        os.fsync(directory)
    return 0


def _append(workspace: Workspace, path: str, content: bytes) -> int:
    with workspace.file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
        start_bytes = os.fstat(descriptor).st_size
        _write_all(descriptor, content)
    return start_bytes


def _require_replaceable(directory: int, name: str) -> None:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    require_plain_file(status)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _read_at_most(descriptor: int, limit_bytes: int) -> bytes:
    content = bytearray()
    while len(content) < limit_bytes:
        block = os.read(descriptor, min(BLOCK_BYTES, limit_bytes - len(content)))
        if not block:
            break
        content += block
    return bytes(content)

"""Reading what a release directory holds: regular files only, and JSON only as this harness writes it."""

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.errors import UNREADABLE, HarnessError, told
from gates.release.report import Report
from gates.run.session import Session

S = TypeVar("S", bound=Struct)
REPORT: Final = "gate-report.json"


def stored_report(directory: Path) -> Report:
    """`gate-report.json` of a release; HarnessError when there is none that can be read."""
    return read_loosely(directory / REPORT, Report)


def session_of(directory: Path) -> Session:
    """`session.json` of a release; HarnessError when there is none that can be read."""
    return read(directory / "session.json", Session)


def bytes_of(path: Path) -> bytes:
    """What a regular file holds; OSError where there is none, be it a link, a pipe or a device."""
    if path.is_symlink():
        # It would be followed to somewhere that is not shipped.
        raise regular.NotRegularError(errno.EINVAL, "it is no regular file", str(path))
    return regular.read(path)


def written(value: object) -> bytes:
    """A file of JSON as this harness writes it."""
    return msgspec.json.format(msgspec.json.encode(value))


def decoded(content: bytes, kind: type[S]) -> S:
    """JSON as `kind`; msgspec.DecodeError where it is none, or has a key twice: who reads it would choose."""
    value = msgspec.json.decode(content, type=kind)
    refuse_repeated(content)
    return value


def refuse_repeated(content: bytes) -> None:
    """msgspec.DecodeError where JSON has a key twice."""
    json.loads(content, object_pairs_hook=_unrepeated)


def _unrepeated(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise msgspec.DecodeError(f"the key {twice!r} is repeated")
    return found


def read(path: Path, kind: type[S]) -> S:
    """A file of JSON that is exactly what this harness writes of it; HarnessError when it is not, or cannot be read."""
    value, content = _read(path, kind)
    if written(value) != content:
        raise HarnessError(
            f"cannot read {path}: it is not as it was written, something in it means nothing"
        )
    return value


def read_loosely(path: Path, kind: type[S]) -> S:
    """A file of JSON that may hold more than is asked for; HarnessError when it cannot be read."""
    return _read(path, kind)[0]


def _read(path: Path, kind: type[S]) -> tuple[S, bytes]:
    try:
        content = bytes_of(path)
        return decoded(content, kind), content
    except (OSError, *UNREADABLE) as error:
        raise HarnessError(f"cannot read {path}: {told(error, path)}") from error

"""Reading what a release directory holds."""

from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.errors import HarnessError
from gates.release.report import Report
from gates.run.session import Session

S = TypeVar("S", bound=Struct)


def stored_report(directory: Path) -> Report:
    """`gate-report.json` of a release; HarnessError when there is none that can be read."""
    return read(directory / "gate-report.json", Report)


def session_of(directory: Path) -> Session:
    """`session.json` of a release; HarnessError when there is none that can be read."""
    return read(directory / "session.json", Session)


def read(path: Path, kind: type[S]) -> S:
    """A file of JSON as `kind`; HarnessError when it cannot be read."""
    try:
        return msgspec.json.decode(regular.read(path), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise HarnessError(f"cannot read {path}: {error}") from error

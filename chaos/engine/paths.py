"""The only way from a text to a file: every path that a step or a target names is resolved here."""

import contextlib
import os
import posixpath
import stat
from pathlib import Path

from msgspec import Struct

from chaos.errors import HarnessError, told
from chaos.spec.kind import PathUse

STATE = "{state}"
ROOT = "{root}"


class Places(Struct, frozen=True):
    """Where the files of a run are: written only below `state`, read below `project`, too. Both are free of links."""

    state: Path
    project: Path

    def written(self, text: str, *, itself: bool = False) -> Path:
        """The path of what is to be changed, free of links; HarnessError for the state directory itself and all outside.

        With `itself` a link stands for itself, not for what it leads to.
        """
        if not Path(text).is_absolute():
            raise HarnessError(f"{text!r} is not below the state directory: write {{state}}/…")
        real = _real(Path(text), itself=itself)
        if real == self.state or not real.is_relative_to(self.state):
            raise HarnessError(f"{text!r} is not below the state directory, so it is not changed")
        return real

    def read(self, text: str) -> Path:
        """The path of what is to be read, free of links; it need not exist.

        What is relative is relative to the project. HarnessError for what lies elsewhere, and for what could block its
        reader or never end.
        """
        real = _real(self.project / text)
        if not any(map(real.is_relative_to, (self.state, self.project))):
            raise HarnessError(f"{text!r} is neither in the state directory nor in the project")
        if os.path.lexists(real) and not stat.S_ISREG(real.lstat().st_mode):
            raise HarnessError(f"{text!r} is no regular file")
        return real

    def kept(self, text: str) -> Path:
        """The path of what the target has kept, the state directory included; a link stands for itself."""
        real = _real(Path(text), itself=True)
        if not real.is_relative_to(self.state):
            raise HarnessError(f"{text!r} is not in the state directory")
        return real


def _real(path: Path, *, itself: bool = False) -> Path:
    """The path without links and dots on the way to it. HarnessError for what names no file."""
    try:
        alone = itself and path.name not in ("", os.pardir)
        real = path.parent.resolve() / path.name if alone else path.resolve()
        with contextlib.suppress(FileNotFoundError):
            real.lstat()
        return real
    except (ValueError, OSError, RuntimeError) as error:
        raise HarnessError(f"{str(path)!r} is no path: {told(error)}") from error


def misplaced(text: str, use: PathUse) -> str | None:
    """What is wrong with a path as it is written, as far as that can be known before anything is filled in."""
    written = use == "written"
    where = "below {state}" if written else "below {state} or in the project"
    wrong = f"{text!r} is not {where}"
    if text.startswith(STATE):
        rest = text.removeprefix(STATE)
    elif text.startswith(ROOT):
        if written:
            return wrong
        rest = text.removeprefix(ROOT)
    elif text.startswith("{"):
        return None
    elif written or text.startswith("/"):
        return wrong
    else:
        rest = f"/{text}"
    if "{" in rest:
        return None
    # Below a place of any name; the place itself is no file.
    inside = posixpath.normpath(f"/place{rest}").startswith("/place/")
    return None if inside else wrong

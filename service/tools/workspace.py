"""File access that cannot leave one directory.

A path is first resolved with all its symbolic links and refused unless it ends inside. Then it is walked again,
one component at a time, relative to open directories and without following any link: whoever swaps a component
for a link in between gets an error, not a way out.
"""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from service.errors import StartRefused
from service.settings import ToolsSettings
from service.state import StateDir
from service.tools.landlock import SYSTEM_DIRECTORIES
from service.tools.usage import Usage, measure

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

DEFAULTS: Final = ToolsSettings()


class PathOutside(Exception):
    """The path leads, or could lead, out of the workspace."""


class WorkspaceFull(Exception):
    """The workspace holds as much as it may."""


class NotAFile(Exception):
    """The path names something other than a regular file with a single name."""


class Workspace:
    """The directory `root`, made if missing, with what `limits` say of it. Raises OSError when it cannot be used."""

    def __init__(self, root: Path, limits: ToolsSettings = DEFAULTS) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve(strict=True)
        self.limits = limits

    def has_room(self, more_bytes: int = 1) -> bool:
        """Whether one more file, of so many bytes, has room. Blocking: run it in a thread."""
        bound = Usage(
            self.limits.max_workspace_bytes - more_bytes, self.limits.max_workspace_files - 1
        )
        return measure(str(self.root), bound).within(bound)

    def locate(self, path: str) -> tuple[str, ...]:
        """The components of `path` below the root, links resolved.

        Raises PathOutside for absolute paths, NUL characters and whatever ends outside.
        """
        if "\0" in path or Path(path).is_absolute():
            raise PathOutside("a path must be relative to the workspace")
        # Path.resolve raises for links that lead in a circle; this goes as far as they lead, and opening refuses them.
        resolved = Path(os.path.realpath(self.root / path))
        if not resolved.is_relative_to(self.root):
            raise PathOutside("the path leads out of the workspace")
        return resolved.relative_to(self.root).parts

    @contextmanager
    def directory_of(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open directory that holds `path`, as a descriptor, and the file's name in it.

        `make` creates missing directories. Raises PathOutside, NotAFile, OSError.
        """
        parts = self.locate(path)
        if not parts:
            raise NotAFile("the path names the workspace itself")
        descriptor = os.open(self.root, _DIRECTORY)
        try:
            for part in parts[:-1]:
                below = _open_directory(descriptor, part, make)
                os.close(descriptor)
                descriptor = below
            yield descriptor, parts[-1]
        finally:
            os.close(descriptor)

    @contextmanager
    def file(self, path: str, flags: int) -> Iterator[int]:
        """An open descriptor of the regular file at `path`. Raises PathOutside, NotAFile, OSError."""
        with self.directory_of(path, make=bool(flags & os.O_CREAT)) as (directory, name):
            # Without O_NONBLOCK, opening a FIFO would wait for its other end for ever.
            opened = os.open(
                name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=directory
            )
        try:
            require_plain_file(os.fstat(opened))
            yield opened
        finally:
            os.close(opened)


def require_plain_file(status: os.stat_result) -> None:
    """Raises NotAFile for devices, pipes and directories, and for files that have a second name elsewhere."""
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile("not a regular file")
    if status.st_nlink > 1:
        raise NotAFile("the file has another name, which may lie outside the workspace")


def _open_directory(parent: int, name: str, make: bool) -> int:
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def require_apart(root: Path, state: StateDir) -> None:
    """Refuse a workspace from which tools would reach what SONIA is made of. Raises StartRefused."""
    code = {"SONIA's own code": Path(__file__).parents[1], "SONIA's Python": Path(sys.prefix)}
    for what, path in (_kept(state) | code).items():
        if path.resolve().is_relative_to(root.resolve()):
            raise StartRefused(
                f"tools.workspace is {root}, which holds {what}",
                "give tools a directory of their own",
            )


def require_private(state: StateDir) -> None:
    """Refuse a state below what every command can read. Raises StartRefused."""
    for what, path in _kept(state).items():
        for readable in SYSTEM_DIRECTORIES:
            if path.resolve().is_relative_to(Path(readable).resolve()):
                raise StartRefused(
                    f"{what} lies below {readable}, which commands can read",
                    "move the state elsewhere",
                )


def _kept(state: StateDir) -> dict[str, Path]:
    return {"the state directory": state.root} | {path.name: path for path in state.files()}

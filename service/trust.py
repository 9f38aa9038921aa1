"""Whose files these are: what a start reads must belong to whoever runs it, and nobody else may change it.

One look at each file before anything of it is believed; the state directory first, as whoever may write there can put
another file in the place of any.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from service.errors import AS_OWNER, StartRefused
from service.files import of_database
from service.state import StateDir

OTHERS: Final = 0o077
OTHERS_WRITE: Final = 0o022


def check_process(state: StateDir) -> None:
    """Look at what every process reads: the directory and its settings. Raises StartRefused.

    Keys are looked at by whoever opens them.
    """
    check_directory(state.root)
    check_settings(state.settings)


def check_control(state: StateDir) -> None:
    """Look at what only the gateway and the commands read as well. Raises StartRefused."""
    check_process(state)
    check_database(state.database)
    check_files(
        (
            state.keys,
            *state.links(),
            state.sentinel,
            state.checkpoints,
            state.clock,
            state.token_epoch,
            state.boot_trace,
            state.gateway_lock,
        )
    )


def check_database(path: Path) -> None:
    """Look at a database and what SQLite keeps beside it. Raises StartRefused."""
    check_files(of_database(path))


def check_directory(path: Path) -> None:
    """Refuse a state directory of another user, or one in which others may put files."""
    status = _status(path, follow=True)
    if status is None or not stat.S_ISDIR(status.st_mode):
        reason = "No such file or directory" if status is None else "Not a directory"
        raise StartRefused(f"{path} is no state directory ({reason})", "`sonia init` makes one")
    _check_owner(str(path), status, {os.geteuid()})
    _check_mode(str(path), status, OTHERS_WRITE, "0700")


def check_settings(path: Path) -> None:
    """Refuse settings that others may change; they may be the administrator's, and everybody may read them."""
    status = _status(path)
    if status is None:
        raise StartRefused(
            f"{path.name} is missing", "restore it; an empty file means all defaults"
        )
    _check_regular(path.name, status)
    _check_owner(path.name, status, {os.geteuid(), 0})
    _check_mode(path.name, status, OTHERS_WRITE, "0600")


def check_files(paths: Iterable[Path]) -> None:
    """Refuse what is there and not a file of this user alone; whether it has to be there, its reader knows."""
    for path in paths:
        status = _status(path)
        if status is not None:
            check_private(path.name, status)


def check_private(name: str, status: os.stat_result) -> None:
    """Refuse anything but a regular file of this user, closed to all others."""
    _check_regular(name, status)
    _check_mode(name, status, OTHERS, "0600")
    _check_owner(name, status, {os.geteuid()})


def _status(path: Path, follow: bool = False) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as wrong:
        raise StartRefused(
            f"{path.name} cannot be looked at: {wrong.strerror}", AS_OWNER
        ) from wrong


def _check_regular(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StartRefused(f"{name} is not a regular file", "put the file itself in its place")


def _check_mode(name: str, status: os.stat_result, forbidden: int, mode: str) -> None:
    if status.st_mode & forbidden:
        actual = f"{stat.S_IMODE(status.st_mode):04o}"
        raise StartRefused(
            f"{name} is open to others (mode {actual})", f"use {mode}, and ask who has been there"
        )


def _check_owner(name: str, status: os.stat_result, owners: set[int]) -> None:
    if status.st_uid not in owners:
        raise StartRefused(f"{name} belongs to another user ({status.st_uid})", AS_OWNER)

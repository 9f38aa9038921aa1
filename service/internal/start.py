"""The start-up checks that all internal processes share."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from service.errors import StartRefused
from service.keys import Link, load_link, read_link
from service.parent import KEYS_PIPE, handed_keys
from service.processes import Listen, Process
from service.settings import Settings, load_settings
from service.state import StateDir
from service.trust import check_process


class Checked(msgspec.Struct, frozen=True):
    """What a process knows once its key material, its configuration and its address have been checked."""

    state: StateDir
    settings: Settings
    link: Link
    listen: Listen
    environ: Mapping[str, str]


def check_start(process: Process, state: Path, environ: Mapping[str, str]) -> Checked:
    """Look at whose the files are, and read keys, settings and address of `process`. Raises StartRefused; opens no socket."""
    directory = StateDir(state)
    check_process(directory)
    return Checked(
        state=directory,
        settings=load_settings(directory.settings),
        link=_link(process, directory, environ),
        listen=process.listen(environ),
        environ=environ,
    )


def _link(process: Process, state: StateDir, environ: Mapping[str, str]) -> Link:
    """The process's own keys: as its gateway has handed them, or from their file."""
    try:
        handed = handed_keys(environ)
    except (OSError, ValueError) as wrong:
        raise StartRefused(f"{KEYS_PIPE} names no pipe with keys: {wrong}", "unset it") from wrong
    if handed is not None:
        return read_link(KEYS_PIPE, handed, process.name)
    keys = state.link(process.name)
    return load_link(keys, process.name)

"""The start-up checks that all internal processes share."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from service.keys import Link, load_link
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
    keys = directory.link(process.name)
    check_process(directory, (keys,))
    return Checked(
        state=directory,
        settings=load_settings(directory.settings),
        link=load_link(keys, process.name),
        listen=process.listen(environ),
        environ=environ,
    )

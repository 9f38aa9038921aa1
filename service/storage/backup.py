"""Copies of a control database: made by SQLite, beside whoever writes to it, and looked over before they count."""

import os
from contextlib import closing
from pathlib import Path

import apsw

from service.errors import StartRefused
from service.files import sync_directory, sync_file
from service.storage.database import check_integrity, look_at


def copy_database(connection: apsw.Connection, to: Path) -> None:
    """Copy what `connection` sees to the new file `to`, which is there as a whole or not at all.

    Raises StartRefused when the copy is not sound, FileExistsError, OSError and apsw.Error.
    """
    if to.exists():
        raise FileExistsError(f"{to} is there already")
    part = to.with_name(f"{to.name}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(apsw.Connection(str(part))) as copy:
        with copy.backup("main", connection, "main") as backup:
            while not backup.done:
                backup.step()
        # One file is all of it.
        copy.pragma("journal_mode", "delete")
    look_at(part, _check)
    sync_file(part)
    part.rename(to)
    sync_directory(to.parent)


def _check(connection: apsw.Connection) -> None:
    check_integrity(connection)
    if connection.pragma("user_version") == 0:
        raise StartRefused("the copy is empty", "look at the disk's space")

"""Copies of a control database: made by SQLite, beside whoever writes to it, and looked over before they count."""

from contextlib import closing
from pathlib import Path

import apsw

from service.errors import StartRefused
from service.files import appearing, of_database
from service.storage.database import check_integrity, look_at


def copy_database(connection: apsw.Connection, to: Path) -> None:
    """Copy what `connection` sees to the new file `to`, which is there as a whole or not at all.

    Raises StartRefused when the copy is not sound, FileExistsError, OSError and apsw.Error.
    """
    with appearing(to) as part:
        for each in of_database(part)[1:]:
            each.unlink(missing_ok=True)
        with closing(apsw.Connection(str(part))) as copy:
            with copy.backup("main", connection, "main") as backup:
                while not backup.done:
                    backup.step()
            # One file is all of it.
            copy.pragma("journal_mode", "delete")
        look_at(part, _check)


def _check(connection: apsw.Connection) -> None:
    check_integrity(connection)
    if connection.pragma("user_version") == 0:
        raise StartRefused("the copy is empty", "look at the disk's space")

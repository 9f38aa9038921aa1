"""Opening the control database, and reading back that it is what was asked for."""

from pathlib import Path
from typing import Final

import apsw

from service.errors import StartRefused
from service.settings import StorageSettings

MINIMUM_SQLITE: Final = (3, 51, 3)
"""The first version without the WAL-reset bug."""

PRAGMAS: Final[dict[str, int | str]] = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "trusted_schema": 0,
}
"""What every connection must report; `synchronous` 2 is FULL."""


def assert_sqlite_version(version: str) -> None:
    """Raise StartRefused unless `version` is at least MINIMUM_SQLITE."""
    if tuple(int(part) for part in version.split(".")) < MINIMUM_SQLITE:
        raise StartRefused(f"SQLite {version} is older than {'.'.join(map(str, MINIMUM_SQLITE))}")


def open_database(path: Path, settings: StorageSettings, create: bool = False) -> apsw.Connection:
    """Open `path` and set and read back its pragmas.

    Without `create` a missing or empty file is refused: it would boot as if it were new and
    forget every token that was revoked. Raises StartRefused.
    """
    assert_sqlite_version(apsw.sqlite_lib_version())
    if not create and (not path.exists() or path.stat().st_size == 0):
        raise StartRefused(f"{path.name} is missing or empty; `sonia init` makes it")
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    try:
        connection = apsw.Connection(str(path), flags=flags)
        connection.set_busy_timeout(int(settings.busy_timeout_s * 1000))
        for name, value in PRAGMAS.items():
            connection.pragma(name, value)
    except apsw.Error as wrong:
        raise StartRefused(f"{path.name} cannot be opened: {wrong}") from wrong
    for name, value in PRAGMAS.items():
        if (actual := connection.pragma(name)) != value:
            raise StartRefused(f"{path.name}: {name} is {actual!r}, not {value!r}")
    return connection


def open_reader(path: Path, settings: StorageSettings) -> apsw.Connection:
    """Open `path` for reading only; what tries to write through it fails. Raises StartRefused."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(int(settings.busy_timeout_s * 1000))
        connection.pragma("query_only", 1)
    except apsw.Error as wrong:
        raise StartRefused(f"{path.name} cannot be opened: {wrong}") from wrong
    return connection


def check_integrity(connection: apsw.Connection) -> None:
    """Raise StartRefused when SQLite finds the file, or a foreign key, broken."""
    try:
        findings = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
        dangling = list(connection.execute("PRAGMA foreign_key_check"))
    except apsw.Error as wrong:
        raise StartRefused(f"control.db is damaged: {wrong}") from wrong
    if findings != ["ok"]:
        raise StartRefused(f"control.db is damaged: {findings[0]}")
    if dangling:
        raise StartRefused(
            f"control.db is damaged: {dangling[0][0]} refers to a missing {dangling[0][2]}"
        )

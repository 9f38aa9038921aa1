"""Opening the control database, and reading back that it is what was asked for."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import apsw

from service.errors import KEEP_AND_RESTORE, REPLACE, RESTORE, DatabaseLost, StartRefused
from service.settings import StorageSettings

T = TypeVar("T")
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
        raise StartRefused(
            f"SQLite {version} is older than {'.'.join(map(str, MINIMUM_SQLITE))}",
            "install the packages that this release pins",
        )


def open_database(path: Path, settings: StorageSettings, create: bool = False) -> apsw.Connection:
    """Open `path` and set and read back its pragmas.

    Without `create` a missing or empty file is refused: it would boot as if it were new and
    forget every token that was revoked. Raises StartRefused.
    """
    assert_sqlite_version(apsw.sqlite_lib_version())
    if not create:
        _require(path)
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    try:
        connection = apsw.Connection(str(path), flags=flags)
        connection.set_busy_timeout(int(settings.busy_timeout_s * 1000))
        for name, value in PRAGMAS.items():
            connection.pragma(name, value)
    except apsw.Error as wrong:
        raise _cannot("cannot be opened", path, wrong) from wrong
    for name, value in PRAGMAS.items():
        if (actual := connection.pragma(name)) != value:
            raise StartRefused(
                f"{path.name}: {name} is {actual!r}, not {value!r}",
                "keep it on a local file system, which SQLite's write-ahead log needs",
            )
    return connection


def open_reader(path: Path, settings: StorageSettings) -> apsw.Connection:
    """Open `path` for reading only; what tries to write through it fails. Raises StartRefused."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(int(settings.busy_timeout_s * 1000))
        connection.pragma("query_only", 1)
    except apsw.Error as wrong:
        raise _cannot("cannot be opened", path, wrong) from wrong
    return connection


@contextmanager
def immediately(connection: apsw.Connection) -> Iterator[None]:
    """One transaction in which nobody else writes from its beginning on. Raises apsw.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def look_at(path: Path, look: Callable[[apsw.Connection], T], busy_timeout_s: float = 5.0) -> T:
    """Return `look(connection)` without writing anything: no row, no file beside it, no page of its log folded in.

    While somebody has the database open, its write-ahead log is read with it. A log that a kill has left is read as
    well, and stays. Where there is none the file alone is everything, and SQLite is told that nobody changes it,
    because it would put files there; if somebody did meanwhile, it looks again. What SQLite finds wrong with the file
    is StartRefused.
    """
    _require(path)
    try:
        while not _in_use(path):
            before = _version(path)
            try:
                with closing(_open_to_look(path, "&immutable=1")) as connection:
                    found = look(connection)
            except (apsw.Error, StartRefused):
                if _unchanged(path, before):
                    raise
            else:
                if _unchanged(path, before):
                    return found
        with closing(_open_to_look(path)) as connection:
            connection.set_busy_timeout(int(busy_timeout_s * 1000))
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            # Whatever is looked at is one snapshot; closing ends it.
            connection.execute("BEGIN")
            return look(connection)
    except apsw.Error as wrong:
        raise _cannot("cannot be read", path, wrong) from wrong


def _open_to_look(path: Path, more: str = "") -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"{path.as_uri()}?mode=ro{more}", flags=flags)


def _in_use(path: Path) -> bool:
    return path.with_name(path.name + "-wal").exists()


def _unchanged(path: Path, version: tuple[int, int]) -> bool:
    return not _in_use(path) and _version(path) == version


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _require(path: Path) -> None:
    if not path.exists() or path.stat().st_size == 0:
        raise StartRefused(
            f"{path.name} is missing or empty", f"{RESTORE}; `sonia init` makes a new one"
        )


def _cannot(what: str, path: Path, wrong: apsw.Error) -> StartRefused:
    if isinstance(wrong, apsw.CorruptError | apsw.NotADBError):
        return DatabaseLost(f"{path.name} is damaged: {wrong}", REPLACE)
    return StartRefused(f"{path.name} {what}: {wrong}", KEEP_AND_RESTORE)


def check_integrity(connection: apsw.Connection) -> None:
    """Raise DatabaseLost when SQLite finds the file, or a foreign key, broken."""
    try:
        findings = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
        dangling = list(connection.execute("PRAGMA foreign_key_check"))
    except apsw.Error as wrong:
        raise DatabaseLost(f"control.db is damaged: {wrong}", REPLACE) from wrong
    if findings != ["ok"]:
        raise DatabaseLost(f"control.db is damaged: {findings[0]}", REPLACE)
    if dangling:
        reason = f"control.db is damaged: {dangling[0][0]} refers to a missing {dangling[0][2]}"
        raise DatabaseLost(reason, REPLACE)

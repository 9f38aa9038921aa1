"""State files of the target: copied with their journals, and only the copy is ever opened."""

import contextlib
import hashlib
import itertools
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import apsw

from chaos import bounds
from chaos.engine.procfs import open_files
from chaos.errors import HarnessError
from chaos.marks import all_pids

SIDE_FILES = ("-wal", "-shm", "-journal")
Value = None | int | float | str | bytes


def open_elsewhere(path: Path) -> list[int]:
    """Ids of the processes that hold `path` open, but for this one: whose they are may be seen by nothing."""
    wanted = os.path.realpath(path)
    return [pid for pid in all_pids() if pid != os.getpid() and wanted in open_files(pid)]


@contextlib.contextmanager
def database_copy(path: Path) -> Iterator[apsw.Connection]:
    """A connection to a copy of a SQLite database and its journals, gone afterwards.

    HarnessError when there is none, or when what is there is no database.
    """
    if not path.exists():
        raise HarnessError(f"{path.name} does not exist in the state directory")
    with tempfile.TemporaryDirectory(prefix="chaos-copy-") as scratch:
        copy = Path(scratch) / path.name
        shutil.copyfile(path, copy)
        for suffix in SIDE_FILES:
            side = path.with_name(path.name + suffix)
            if side.exists():
                shutil.copyfile(side, copy.with_name(copy.name + suffix))
        connection = apsw.Connection(str(copy))
        strict_about_names(connection)
        try:
            yield connection
        except apsw.Error as error:
            raise HarnessError(f"{path.name} cannot be read: {error}") from error
        finally:
            connection.close()


def regular_files(directory: Path) -> list[Path]:
    """Every file below `directory` that is nothing else: neither a link nor anything that could block its reader."""
    files = (Path(place, name) for place, _, names in os.walk(directory) for name in names)
    return sorted(path for path in files if stat.S_ISREG(path.lstat().st_mode))


def bound_in_time(connection: apsw.Connection) -> None:
    """From now on its statements are interrupted, with an apsw.Error, once `bounds.SQL_S` have passed."""
    ends_s = time.monotonic() + bounds.SQL_S
    connection.set_progress_handler(lambda: time.monotonic() > ends_s, 100_000)


def strict_about_names(connection: apsw.Connection) -> None:
    """SQLite takes a column in double quotes that does not exist for a text; here it is an error."""
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)


def select(connection: apsw.Connection, sql: str) -> list[dict[str, object]]:
    """All rows of one SELECT as objects; bytes become hex texts. HarnessError when it does not run."""
    names: list[str] = []

    def remember(cursor: apsw.Cursor, row: tuple[Value, ...]) -> tuple[Value, ...]:
        # Only while a row is at hand can the names of the columns be asked for.
        names[:] = [column[0] for column in cursor.get_description()]
        cursor.row_trace = None
        return row

    bound_in_time(connection)
    cursor = connection.cursor()
    cursor.row_trace = remember
    try:
        rows = list(itertools.islice(cursor.execute(sql), bounds.ROWS + 1))
        if len(rows) > bounds.ROWS:
            raise HarnessError(f"the query gives more than {bounds.ROWS} rows")
    except apsw.Error as error:
        raise HarnessError(f"the query does not run: {error}") from error
    return [dict(zip(names, map(plain, row), strict=True)) for row in rows]


def plain(value: Value) -> object:
    """A SQLite value as JSON has it."""
    return value.hex() if isinstance(value, bytes) else value


def table_digests(connection: apsw.Connection, without: Iterable[str]) -> list[dict[str, object]]:
    """One object per table: its name, number of rows and SHA-256 over all rows in a stable order.

    The schema counts as a table named `sqlite_schema`. Of a virtual table it is the shadow tables that count.
    """
    skipped = set(without)
    sql = (
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        " AND sql NOT LIKE 'CREATE VIRTUAL %' ORDER BY name"
    )
    names = [str(name) for (name,) in connection.execute(sql)]
    digests = [_digest(connection, "sqlite_schema")]
    return digests + [_digest(connection, name) for name in names if name not in skipped]


def _digest(connection: apsw.Connection, name: str) -> dict[str, object]:
    columns = "type, name, tbl_name, sql" if name == "sqlite_schema" else "*"
    rows = connection.execute(f"SELECT {columns} FROM {quoted(name)}")  # noqa: S608 - a quoted name
    # Python's spelling keeps a text and equal bytes apart.
    lines = sorted(repr(row) for row in rows)
    digest = hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()
    return {"table": name, "rows": len(lines), "sha256": digest}


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def merged(base: object, changes: Mapping[str, object]) -> dict[str, object]:
    """`base` with `changes` merged in, mapping by mapping."""
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in changes.items():
        result[key] = merged(result.get(key), value) if isinstance(value, Mapping) else value
    return result

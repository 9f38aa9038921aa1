"""A process that holds the write lock of a SQLite database: `python -m chaos.engine.holder PATH SECONDS`.

It is one of its own, because a process that closes any descriptor of a file gives up all its locks on it. It says one line
when it has the lock, or why it does not get it within the time, and keeps it until its input ends.
"""

import sys
from pathlib import Path

import apsw

HELD = "held"


def open_quietly(path: Path, wait_ms: int) -> apsw.Connection:
    """A connection that may take locks, and leaves the file and its journals as they are when it is closed."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(wait_ms)
    return connection


def free(path: Path) -> str | None:
    """Why somebody else does not hold the write lock of what is at `path` now, or None when somebody does."""
    try:
        connection = open_quietly(path, 0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except apsw.BusyError:
        return None
    except apsw.Error as error:
        return str(error)
    return "somebody else could take it"


def main(path: Path, wait_s: float) -> None:
    """Take the lock, say so, and keep it until the input ends."""
    try:
        connection = open_quietly(path, round(wait_s * 1000))
        connection.execute("BEGIN IMMEDIATE")
    except apsw.Error as error:
        print(error, flush=True)
        return
    print(HELD, flush=True)
    sys.stdin.read()
    connection.execute("ROLLBACK")
    connection.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))

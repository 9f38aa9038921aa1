"""A process is killed where it is about to change the directory for the n-th time, and no sooner."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

PYTHON = """
import os
d = os.open("a", os.O_WRONLY | os.O_CREAT)
os.write(d, b"written")
os.fsync(d)
with open("read", "rb") as file: file.read()
os.rename("a", "b")
"""
SQLITE = """
import apsw
connection = apsw.Connection("database")
with connection:
    connection.execute("UPDATE t SET x = x + 1")
    connection.execute("UPDATE u SET x = x + 1")
"""


def run(directory: Path, text: str, last: int) -> int:
    (directory.parent / "module.py").write_text(text)
    command = [sys.executable, "-m", "chaos.shims.killed", str(directory), str(last), "module"]
    return subprocess.run(
        command, cwd=directory, env={"PYTHONPATH": str(directory.parent)}, check=False, timeout=60
    ).returncode


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir()
    (path / "read").touch()
    return path


@pytest.mark.parametrize(
    ("last", "left"),
    [
        (1, {}),
        (2, {"a": b""}),
        (4, {"a": b"written"}),
        (5, {"b": b"written"}),
    ],
)
def test_what_python_changes_counts(directory: Path, last: int, left: dict[str, bytes]) -> None:
    assert run(directory, PYTHON, last) == (0 if last == 5 else -signal.SIGKILL)
    found = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert found == {"read": b"", **left}


def test_what_sqlite_writes_counts(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "database")) as connection:
        connection.executescript(
            "CREATE TABLE t (x); CREATE TABLE u (x); INSERT INTO t VALUES (0); INSERT INTO u VALUES (0)"
        )
    last, before = 1, 0
    while run(directory, SQLITE, last) == -signal.SIGKILL:
        with closing(sqlite3.connect(directory / "database")) as connection:
            ((t, u),) = connection.execute("SELECT t.x, u.x FROM t, u")
        assert t == u
        last, before = last + 1, t
    # The journal, the pages, the end of the journal; what is killed before that end is undone.
    assert last > 6
    assert before == 0

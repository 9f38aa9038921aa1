"""What is told of tables and files, so that equal texts mean that nothing was changed."""

import os
import re
import sqlite3
from pathlib import Path

import msgspec
import pytest

from chaos.engine.looks import look_at_files, look_at_tables


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A directory with one of each sort."""
    state = tmp_path / "state"
    (state / "work" / "empty").mkdir(parents=True)
    (state / "work" / "a.txt").write_text("a")
    (state / "store.db-wal").write_text("journal")
    (state / "leads-out").symlink_to("/etc/passwd")
    os.mkfifo(state / "pipe", 0o600)
    with sqlite3.connect(state / "store.db") as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("CREATE TABLE log (a)")
    (state / "store.db-wal").unlink(missing_ok=True)
    return state


def test_everything_is_told_with_its_sort_and_mode(state: Path) -> None:
    (state / "work" / "a.txt").chmod(0o640)
    (state / "store.db").chmod(0o600)
    (state / "store.db-shm").write_text("comes and goes")
    seen = look_at_files([state], state, [state / "store.db"], ["work/empty"])
    told = {item: text for (kind, item), text in seen.items() if kind == "file"}
    assert set(told) == {".", "work", "work/empty", "work/a.txt", "leads-out", "pipe", "store.db"}
    assert re.fullmatch("link to /etc/passwd [0-9a-f]{64}", told["leads-out"])
    assert told["pipe"] == "pipe 0600"
    assert told["store.db"] == "file 0600"
    assert told["work/a.txt"].startswith("file 0640 ca978112ca1bbdca")
    without = look_at_files([state], state, [state / "store.db"], ["work"])
    assert [item for _, item in without if item.startswith("work")] == ["work"]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: (state / "work" / "a.txt").write_text("b"),
        lambda state: (state / "work" / "a.txt").chmod(0o600),
        lambda state: (state / "work" / "empty" / "new").touch(),
        lambda state: (state / "work" / "empty").rmdir(),
        lambda state: (state / "other.db").write_bytes(b"SQLite format 3\0"),
        lambda state: (state / "store.db").chmod(0o444),
        lambda state: ((state / "leads-out").unlink(), (state / "leads-out").symlink_to("/")),
        lambda state: ((state / "pipe").unlink(), (state / "pipe").touch(0o600)),
        lambda state: (state / "free.txt").unlink(),
    ],
    ids=[
        "content", "mode", "new", "gone", "unnamed database", "mode of a database", "where a link leads", "sort", "free and gone",
    ],
)  # fmt: skip
def test_a_change_of_any_sort_is_told(state: Path, change: object) -> None:
    (state / "free.txt").write_text("1")

    def look() -> object:
        return look_at_files([state], state, [state / "store.db"], ["free.txt"])

    before = look()
    (state / "free.txt").write_text("2")
    assert look() == before
    assert callable(change)
    change(state)
    assert look() != before


def test_a_name_that_is_no_text_is_told(state: Path) -> None:
    (state / os.fsdecode(b"no\xfftext")).symlink_to(os.fsdecode(b"else\xfewhere"))
    seen = look_at_files([state], state, [], [])
    assert seen["file", "no\\xfftext"].startswith("link to else\\xfewhere ")
    assert msgspec.json.encode(list(seen.values()))


def test_every_table_is_told_but_those_that_may_change(state: Path) -> None:
    def look() -> dict[str, str]:
        seen = look_at_tables({"store": state / "store.db"}, ["log"])
        return {item: text for (_, item), text in seen.items()}

    before = look()
    assert set(before) == {"store.sqlite_schema", "store.t"}
    with sqlite3.connect(state / "store.db") as connection:
        connection.execute("INSERT INTO log VALUES (1)")
    assert look() == before
    with sqlite3.connect(state / "store.db") as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    after = look()
    assert after["store.t"].startswith("1 rows ") and before["store.t"].startswith("0 rows ")
    with sqlite3.connect(state / "store.db") as connection:
        connection.execute("DROP TABLE log")
    assert look()["store.sqlite_schema"] != after["store.sqlite_schema"]
    (state / "store.db").unlink()
    assert look() == {}

"""How the control database is opened, and what its readers may do."""

from pathlib import Path

import apsw
import pytest

from service.errors import StartRefused
from service.settings import StorageSettings
from service.storage.database import check_integrity, open_database, open_reader

SETTINGS = StorageSettings(busy_timeout_s=7.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "control.db"
    connection = open_database(made, SETTINGS, create=True)
    connection.execute(
        "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (a INTEGER REFERENCES a)"
    )
    connection.close()
    return made


def pragmas(connection: apsw.Connection, *names: str) -> list[object]:
    return [connection.pragma(name) for name in names]


def test_each_commit_is_on_disk_and_references_hold(path: Path) -> None:
    connection = open_database(path, SETTINGS)
    asked = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "busy_timeout")
    assert pragmas(connection, *asked) == ["wal", 2, 1, 0, 7500]
    with pytest.raises(apsw.ConstraintError):
        connection.execute("INSERT INTO b VALUES (1)")


def test_a_reader_waits_as_long_and_writes_nothing(path: Path) -> None:
    connection = open_reader(path, SETTINGS)
    assert pragmas(connection, "busy_timeout") == [7500]
    with pytest.raises(apsw.ReadOnlyError):
        connection.execute("INSERT INTO a VALUES (1)")


@pytest.mark.parametrize("opens", [open_database, open_reader])
def test_what_is_no_database_is_refused(tmp_path: Path, opens: object) -> None:
    assert callable(opens)
    with pytest.raises(StartRefused, match=r"missing or empty|cannot be opened"):
        opens(tmp_path / "none.db", SETTINGS)
    with pytest.raises(StartRefused, match="cannot be opened"):
        opens(tmp_path, SETTINGS)


def test_a_reference_to_nothing_is_damage(path: Path) -> None:
    connection = apsw.Connection(str(path))
    check_integrity(connection)
    connection.execute("INSERT INTO b VALUES (7)")
    with pytest.raises(StartRefused, match="damaged: b refers to a missing a"):
        check_integrity(connection)

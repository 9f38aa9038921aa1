"""What a disk holds is what was synced, whoever wrote it."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from chaos.errors import HarnessError
from chaos.shims.disk import SHIM, Disk, Operation, Part, read_files, split

WRITES = """
import os, signal, sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.pragma("journal_mode", "wal")
connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
connection.pragma("synchronous", int(sys.argv[2]))
for x in range(20):
    connection.execute("INSERT INTO t VALUES (?)", (x,))
os.kill(os.getpid(), signal.SIGKILL)
"""
FULL, NORMAL = 2, 1


def killed(disk: Disk, synchronous: int, **more: str) -> list[Operation]:
    """What a process did that wrote twenty rows and was killed."""
    run = subprocess.run(
        [sys.executable, "-c", WRITES, str(disk.database), str(synchronous)],
        env={**os.environ, **disk.environment, **more},
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    return disk.operations()


def rows(database: Path) -> int:
    connection = apsw.Connection(str(database))
    try:
        assert connection.pragma("integrity_check") == "ok"
        return int(connection.execute("SELECT count(*) FROM t").get)
    finally:
        connection.close()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A recording of a database in WAL that has a table and no rows."""
    database = tmp_path / "it.db"
    connection = apsw.Connection(str(database))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    return Disk(database, tmp_path / "recorded")


def test_each_commit_in_full_is_synced_and_outlives_a_loss_of_power(disk: Disk) -> None:
    operations = killed(disk, FULL)
    assert sum(one.part == "wal" and one.did == "sync" for one in operations) in range(20, 24)
    disk.lose_power()
    assert rows(disk.database) == 20


def test_without_syncs_all_is_lost_although_a_kill_alone_loses_nothing(disk: Disk) -> None:
    operations = killed(disk, NORMAL)
    assert disk.as_written(operations) == read_files(disk.database)
    disk.lose_power()
    assert rows(disk.database) == 0
    dropped = {one.part: one.size for one in disk.told() if one.did == "dropped"}
    assert dropped["wal"] > 20 * 4096
    assert dropped["main"] == 0


def test_who_watches_a_process_besides_goes_on(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'w')")
    assert killed(disk, FULL, PYTHONPATH=f"{SHIM}{os.pathsep}{tmp_path}")
    assert (tmp_path / "seen").exists()


def test_what_somebody_else_wrote_is_not_dropped(disk: Disk) -> None:
    killed(disk, NORMAL)
    disk.database.write_bytes(disk.database.read_bytes() + b"more")
    with pytest.raises(HarnessError, match=r"somebody else has written to it\.db"):
        disk.lose_power()


def did(part: Part, *what: str) -> list[Operation]:
    return [Operation(part, one, 0, 4, 0.0, b"abcd") for one in what]  # type: ignore[arg-type]


def test_a_deletion_is_certain_once_the_directory_was_synced() -> None:
    gone = [*did("journal", "write", "sync", "delete"), *did("wal", "write", "sync")]
    assert [len(part) for part in split(gone, "journal")] == [2, 1]
    assert [len(part) for part in split([*gone, *did("wal", "sync_directory")], "journal")] == [
        3,
        0,
    ]


def test_of_what_was_not_synced_chance_leaves_any_sectors(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "it.db", tmp_path / "recorded")
    synced = [Operation("wal", "write", 0, 1500, 0.0, b"a" * 1500), *did("wal", "sync")]
    lost = [Operation("wal", "write", 100, 1400, 0.0, b"b" * 1400)]
    found = {disk.after([*synced, *lost], random.Random(seed))["wal"] for seed in range(64)}
    a, b = b"a" * 100, b"b"
    assert found == {
        a + one * 412 + two * 512 + three * 476
        for one in (b"a", b)
        for two in (b"a", b)
        for three in (b"a", b)
    }
    assert disk.after([*synced, *lost])["wal"] == b"a" * 1500

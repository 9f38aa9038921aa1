"""What is killed where it changes a file leaves that file whole, or none: files of all kinds, under each of their changes."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import apsw
import pytest

from chaos.shims.killed import kill_at
from service.clock import create_clock, read_mark
from service.files import appearing, replace, write_new
from service.gateway import restoring
from service.incidents.bundles import Span, bundles_of, export, prune, read_bundle
from service.keys import generate_keys, load_keys, replace_keys, write_keys
from service.migrating import migrate_down, schema_of
from service.storage.backup import copy_database
from service.storage.database import look_at
from service.storage.migrations import MIGRATIONS
from tests.service.running import State, alter

NEWEST = MIGRATIONS[-1].version
KEYS = generate_keys(0).material
OTHER_KEYS = generate_keys(1).material


def is_killed(directory: Path, change: int, act: Callable[[], object]) -> bool:
    """Do `act` in a process that is killed when it is about to change `directory` for so many times; whether it was."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            files = kill_at(str(directory), change)
            act()
            del files
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -9)
    return status == -9


def wherever_killed(directory: Path, act: Callable[[], object], check: Callable[[], object]) -> int:
    """Kill `act` at each of its changes, checking each time; return how many there were, after it was done once in peace."""
    for change in count(1):
        directory.mkdir(exist_ok=True)
        killed = is_killed(directory, change, act)
        check()
        if not killed:
            return change - 1
    raise AssertionError


def trace_of(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def test_a_new_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "d" / "keys.json"

    def check() -> None:
        if path.exists():
            assert load_keys(path) == KEYS
            assert path.stat().st_mode & 0o777 == 0o600
            path.unlink()

    assert wherever_killed(path.parent, lambda: write_keys(path, KEYS), check) >= 4
    assert list(path.parent.iterdir()) == []


def test_a_file_in_the_place_of_another_is_the_one_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "d" / "keys.json"
    path.parent.mkdir()
    write_keys(path, KEYS)

    def check() -> None:
        assert load_keys(path) in (KEYS, OTHER_KEYS)

    assert wherever_killed(path.parent, lambda: replace_keys(path, OTHER_KEYS), check) >= 4
    assert load_keys(path) == OTHER_KEYS


def test_a_clock_that_is_begun_anew_has_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    create_clock(path)
    assert wherever_killed(tmp_path, lambda: create_clock(path), lambda: read_mark(path)) >= 4


def test_a_trace_of_boots_that_is_shortened_ends_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "MOST_BYTES", 200)
    path = tmp_path / "boot.jsonl"
    line = b'{"boot_id":"boot_1"}\n'
    write_new(path, line * 20)

    def check() -> None:
        assert trace_of(path).endswith(line)

    assert wherever_killed(tmp_path, lambda: restoring.record(path, ()), check) >= 5
    assert 0 < path.stat().st_size <= 100


def test_a_copy_of_a_database_is_sound_or_not_there(tmp_path: Path) -> None:
    original, to = tmp_path / "control.db", tmp_path / "d" / "copy.db"
    with closing(sqlite3.connect(original)) as connection:
        connection.executescript(
            "CREATE TABLE t (x); INSERT INTO t VALUES (1); PRAGMA user_version = 1"
        )

    def check() -> None:
        if to.exists():
            assert look_at(to, lambda copy: copy.execute("SELECT x FROM t").get) == 1
            to.unlink()

    def copy() -> None:
        look_at(original, lambda connection: copy_database(connection, to))

    assert wherever_killed(to.parent, copy, check) >= 6
    assert list(to.parent.iterdir()) == []


def test_a_bundle_is_whole_or_not_there_and_what_is_left_of_one_goes(state: State) -> None:
    incidents = state.directory.incidents
    incidents.mkdir(exist_ok=True)
    out = incidents / "inc_1"

    def check() -> None:
        if out.exists():
            assert read_bundle(out).manifest.incident_id == "inc_1"
        else:
            assert bundles_of(state.directory) == []

    def make() -> None:
        export(state.directory, Span(0, 1), "inc_1", 1, out)

    assert wherever_killed(incidents, make, check) >= 12
    assert len(list(incidents.iterdir())) > 1
    prune(state.directory)
    assert list(incidents.iterdir()) == [out]


def test_nothing_is_lost_before_all_of_it_is_exported(state: State, tmp_path: Path) -> None:
    alter(state, "INSERT INTO boots VALUES (1, 'b', 1, NULL)")
    to = tmp_path / "d" / "lost.jsonl"

    def check() -> None:
        if schema_of(state.directory).schema == NEWEST:
            to.unlink(missing_ok=True)
        else:
            assert b'"table":"boots"' in to.read_bytes()

    assert wherever_killed(to.parent, lambda: migrate_down(state.directory, 3, to), check) >= 4
    assert schema_of(state.directory).schema == 3
    assert list(to.parent.iterdir()) == [to]


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"mine")
    link.symlink_to("nowhere")
    for each in path, link:
        with pytest.raises(FileExistsError):
            write_new(each, b"other")
    assert path.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(apsw.FullError), appearing(tmp_path / "a"):
        raise apsw.FullError
    assert list(tmp_path.iterdir()) == []


def test_who_is_overtaken_by_another_leaves_what_that_has_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(FileExistsError, match="somebody else writes it"), appearing(path):
        replace(path, b"other")
    assert path.read_bytes() == b"other"

"""Schemas, up and down: nothing is lost unsaid, what the release before asks still holds, and a step is whole or not taken."""

import hashlib
import json
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

from service.audit.chain import Chain, read_head
from service.control import look_over, open_control
from service.effects import system_cause
from service.errors import SoniaError, StartRefused
from service.keys import load_keys
from service.migrating import migrate_down, schema_of
from service.settings import StorageSettings
from service.storage.database import open_database
from service.storage.migrations import MIGRATIONS, lost_by, migrate, take_back
from tests.service.conformance.conversation import command
from tests.service.running import State, alter, rows

NEWEST = MIGRATIONS[-1].version
BEFORE = 3
"""The schema of the release before."""
Schema = dict[str, list[tuple[object, ...]]]


def at(version: int) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    migrate(connection, 1, MIGRATIONS[:version])
    return connection


def schema(connection: apsw.Connection) -> Schema:
    """Names, columns and kinds of all there is, whatever the words it was made with."""
    made = connection.execute(
        "SELECT name, type FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    return {
        f"{kind} {name}": [
            *connection.execute(
                f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{name}')"
            ),
            *connection.execute(f"SELECT name FROM pragma_index_info('{name}')"),
            *connection.execute(f'SELECT "table", "from" FROM pragma_foreign_key_list(\'{name}\')'),
        ]
        for name, kind in made.fetchall()
    }


@pytest.mark.parametrize("version", range(BEFORE, NEWEST))
def test_what_a_step_adds_is_taken_back_and_added_again(version: int) -> None:
    connection, done = at(NEWEST), []
    take_back(connection, version, lambda step: done.append(step.version))
    assert done == list(range(NEWEST, version, -1))
    assert schema(connection) == schema(at(version))
    assert connection.pragma("user_version") == version
    migrate(connection, 2)
    assert schema(connection) == schema(at(NEWEST))


@pytest.mark.parametrize("version", range(BEFORE, NEWEST))
def test_a_step_only_adds(version: int) -> None:
    older, newer = schema(at(version)), schema(at(version + 1))
    assert older.keys() <= newer.keys()
    for name, told in older.items():
        assert set(map(str, told)) <= set(map(str, newer[name])), name
    for name, told in newer.items():
        for column in told[len(older.get(name, told)) :]:
            # What the release before inserts says nothing of it.
            assert len(column) < 5 or not column[2] or column[3] is not None, (name, column)


def test_steps_of_old_are_not_taken_back() -> None:
    connection = at(NEWEST)
    with pytest.raises(StartRefused, match="schema 3 cannot be taken back"):
        take_back(connection, 2, lambda _: None)
    assert connection.pragma("user_version") == NEWEST


@pytest.mark.parametrize("version", range(BEFORE + 1, NEWEST + 1))
def test_a_step_down_that_fails_leaves_all_as_it_was(version: int) -> None:
    step = MIGRATIONS[version - 1]
    *statements, _ = step.down.split(";")
    for number in range(len(statements) + 1):
        connection = at(version)
        before = schema(connection)
        cut = msgspec.structs.replace(step, down=";".join([*statements[:number], "nonsense"]))
        with pytest.raises(apsw.SQLError, match="nonsense"):
            take_back(connection, version - 1, lambda _: None, (*MIGRATIONS[: version - 1], cut))
        assert schema(connection) == before
        assert connection.pragma("user_version") == version


TASK = """
    INSERT INTO tasks (seq, id, kind, payload, status, created_at_ms, updated_at_ms, created_by, request_id)
        VALUES (1, 't1', 'k', '{}', 'queued', 1, 1, 't', 'r'), (2, 't2', 'k', '{}', 'queued', 1, 1, 't', 'r')
"""


def test_only_what_differs_is_lost() -> None:
    connection = at(NEWEST)
    step = MIGRATIONS[3]
    connection.execute(TASK)
    assert list(lost_by(connection, step)) == []
    connection.execute("UPDATE tasks SET attempts = 2, outcome = '{}' WHERE seq = 2")
    ((table, row),) = lost_by(connection, step)
    assert (table, row["id"], row["attempts"], row["outcome"]) == ("tasks", "t2", 2, "{}")


def test_down_and_up_keeps_every_row_and_the_log(state: State, tmp_path: Path) -> None:
    alter(state, f"{TASK}; UPDATE tasks SET attempts = 2 WHERE seq = 2")
    was = rows(state, "SELECT id, kind, payload, status FROM tasks ORDER BY seq")
    with pytest.raises(SoniaError, match="1 of tasks; `--export FILE`"):
        migrate_down(state.directory, BEFORE, None)
    assert schema_of(state.directory).schema == NEWEST
    assert not state.directory.backups.exists()
    export = tmp_path / "lost.jsonl"
    schema_now, backup = migrate_down(state.directory, BEFORE, export)
    assert backup is not None
    assert schema_now.schema == BEFORE
    (line,) = (json.loads(each) for each in export.read_text().splitlines())
    assert (line["schema"], line["table"], line["row"]["attempts"]) == (4, "tasks", 2)
    assert export.stat().st_mode & 0o777 == 0o600
    with closing(apsw.Connection(str(backup))) as copy:
        assert copy.execute("SELECT max(attempts) FROM tasks").get == 2
    look_over(state.directory)
    assert rows(state, "SELECT id, kind, payload, status FROM tasks ORDER BY seq") == was
    with closing(open_control(state.directory)):
        pass
    assert schema_of(state.directory).schema == NEWEST
    assert rows(state, "SELECT id, kind, payload, status FROM tasks ORDER BY seq") == was
    told = rows(state, "SELECT effect_id FROM audit WHERE action = 'database.migrate' ORDER BY seq")
    steps = [(str(each),) for each in range(BEFORE + 1, NEWEST + 1)]
    assert told == [*reversed(steps), *steps]
    assert len(list(state.directory.backups.iterdir())) == 2


def test_no_step_is_there_that_the_log_does_not_tell_of(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise OSError("the end")

    migrate_down(state.directory, BEFORE, tmp_path / "lost")
    monkeypatch.setattr("service.control.Storage", ended)
    with pytest.raises(StartRefused, match="the end"):
        open_control(state.directory)
    (said,) = rows(state, "SELECT effect_id FROM audit ORDER BY seq DESC LIMIT 1")
    assert said == (str(NEWEST),)
    look_over(state.directory)


def test_a_log_of_the_release_before_is_intact_before_and_after(
    state: State, tmp_path: Path
) -> None:
    migrate_down(state.directory, BEFORE, tmp_path / "lost")
    old = tmp_path / "old.db"
    with closing(open_database(state.directory.database, StorageSettings())) as connection:
        # As release 4.5 has sealed it.
        row = ("c1", "file.write", "7B7D", "h", None, "pending", 1, 9, None, None, "t", "req_1")
        digest = hashlib.sha256(msgspec.json.encode(row)).hexdigest()
        connection.execute(
            "INSERT INTO confirmations (id, tool, args, args_sha256, status, created_at_ms, expires_at_ms, created_by,"
            " request_id) VALUES ('c1', 'file.write', x'7b7d', 'h', 'pending', 1, 9, 't', 'req_1')"
        )
        chain = Chain(load_keys(state.directory.keys).audit_key_bytes(), read_head(connection))
        cause = system_cause("test", "confirmation.create", "req_1")
        chain.append(connection, 1, cause, ("confirmations", "c1"), {"sealed": digest})
    for told in (("audit", "verify"), ("backup", str(old)), ("migrate", "up"), ("audit", "verify")):
        code, _, errors = command(*told, "--state", str(state.directory.root))
        assert (code, errors) == (0, "")
    assert command("restore", str(old), "--state", str(state.directory.root))[0] == 0
    # What it puts in place is as it was; a start brings it up.
    assert schema_of(state.directory).schema == BEFORE
    with closing(open_control(state.directory)):
        assert schema_of(state.directory).schema == NEWEST
    assert command("audit", "verify", "--state", str(state.directory.root))[0] == 0


def test_the_commands(state: State, tmp_path: Path) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        code, output, errors = command("migrate", *arguments, "--state", str(state.directory.root))
        return code, output + errors

    assert said("status") == (0, f"schema {NEWEST}; this release brings it to {NEWEST}\n")
    code, told = said("down", "--to", str(NEWEST + 1))
    assert (code, told) == (1, f"error: schema {NEWEST + 1} is no earlier one\n")
    assert said("down", "--to", str(NEWEST)) == (0, f"schema {NEWEST}\n")
    assert not state.directory.backups.exists()
    assert said("down", "--to", "3", "--export", str(tmp_path / "lost"))[0] == 0
    assert said("status")[1].startswith("schema 3;")
    code, told, _ = command("doctor", "--state", str(state.directory.root))
    assert (code, "tasks 0" in told, "outbox" in told) == (0, True, False)
    assert said("up") == (0, f"schema {NEWEST}\n")
    lock = state.directory.lock()
    assert said("up")[0] == said("down", "--to", "3")[0] == 1
    state.directory.unlock(lock)

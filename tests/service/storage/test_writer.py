"""The one writer: group commit, savepoints, and what happens when nothing can be written."""

import asyncio
import re
from collections.abc import Iterator

import apsw
import pytest

from service.control import Control, open_control
from service.effects import Effect, system_cause
from service.errors import Conflict, StartRefused, Unavailable
from service.settings import StorageSettings
from service.storage.database import assert_sqlite_version, open_database
from service.storage.migrations import MIGRATIONS, Migration, migrate
from tests.service.running import State, alter, rows, running, sonia


@pytest.fixture
def control(state: State) -> Iterator[Control]:
    opened = open_control(state.directory)
    yield opened
    opened.close()


CAUSE = system_cause("test", "act", "req_test")


def set_decision(decision: str) -> object:
    def run(connection: apsw.Connection) -> Effect[None]:
        connection.execute("UPDATE policies SET decision = ?", (decision,))
        return Effect(None, "policies", decision)

    return run


def test_operations_that_wait_share_a_commit(control: Control) -> None:
    async def many() -> None:
        changes = [
            control.storage.change(CAUSE, lambda _: Effect(None, "t", "1")) for _ in range(200)
        ]
        await asyncio.gather(*changes)

    asyncio.run(many())
    assert control.storage.operations == 200
    assert control.storage.batches < 100


def test_one_failure_takes_nothing_else_with_it(control: Control, state: State) -> None:
    def fails(connection: apsw.Connection) -> Effect[None]:
        connection.execute("DELETE FROM policies")
        raise Conflict("no")

    def violates(connection: apsw.Connection) -> Effect[None]:
        connection.execute("UPDATE policies SET decision = 'nonsense'")
        return Effect(None, "policies", "x")

    async def mixed() -> list[object]:
        changes = [
            control.storage.change(CAUSE, run)  # type: ignore[arg-type]
            for run in (set_decision("deny"), fails, violates, set_decision("allow"))
        ]
        return list(await asyncio.gather(*changes, return_exceptions=True))

    outcomes = asyncio.run(mixed())
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        Conflict,
        apsw.ConstraintError,
        type(None),
    ]
    assert {row[0] for row in rows(state, "SELECT decision FROM policies")} == {"allow"}
    assert rows(state, "SELECT count(*) FROM audit WHERE action = 'act'") == [(2,)]


def test_too_many_waiting_are_refused(state: State) -> None:
    control = open_control(state.directory)
    holder = apsw.Connection(str(state.directory.database))
    holder.execute("BEGIN IMMEDIATE")

    def flood() -> None:
        for _ in range(control.settings.storage.queue_max + 200):
            control.storage.note(CAUSE, {})

    try:
        with pytest.raises(Unavailable) as refused:
            flood()
        assert refused.value.code == "overloaded"
        assert refused.value.retry_after_ms is not None
    finally:
        holder.execute("ROLLBACK")
        holder.close()
        control.close()


def test_nothing_is_acknowledged_while_nothing_can_be_committed(state: State) -> None:
    with running(state) as gateway:
        holder = apsw.Connection(str(state.directory.database))
        holder.execute("BEGIN IMMEDIATE")
        try:
            answer = gateway.operator("POST", "/tasks", {"kind": "x"})
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json["code"] == "storage_unavailable"
            assert gateway.call("GET", "/healthz").status == 200
            assert gateway.operator("GET", "/tasks").json["items"] == []
            assert gateway.call("POST", "/tasks").status == 401
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        assert gateway.operator("POST", "/tasks", {"kind": "y"}).status == 201
    assert rows(state, "SELECT kind FROM tasks") == [("y",)]


def test_what_was_acknowledged_survives_a_kill(state: State) -> None:
    acknowledged: list[str] = []
    for _ in range(2):
        with running(state) as gateway:
            acknowledged += [
                gateway.operator("POST", "/tasks", {"kind": "x"}).json["id"] for _ in range(20)
            ]
            gateway.kill()
    assert {row[0] for row in rows(state, "SELECT id FROM tasks")} >= set(acknowledged)
    assert sonia(state, "audit", "verify").returncode == 0


@pytest.mark.parametrize("version", ["3.51.2", "3.40.1", "3.9.99"])
def test_an_old_sqlite_is_refused(version: str) -> None:
    with pytest.raises(StartRefused):
        assert_sqlite_version(version)
    assert_sqlite_version("3.51.3")
    assert_sqlite_version("4.0.0")


def test_a_newer_or_differently_migrated_database_is_refused(state: State) -> None:
    alter(state, "UPDATE migrations SET sha256 = 'x'")
    assert sonia(state, "run", "gateway").returncode == 78
    alter(state, f"PRAGMA user_version = {MIGRATIONS[-1].version + 1}")
    refused = sonia(state, "run", "gateway")
    assert refused.returncode == 78
    assert "newer" in refused.stderr


def test_a_migration_that_fails_leaves_nothing(state: State) -> None:
    connection = open_database(state.directory.database, StorageSettings())
    step = Migration(MIGRATIONS[-1].version + 1, "CREATE TABLE a (b) STRICT; nonsense")
    with pytest.raises(apsw.SQLError):
        migrate(connection, 1, (*MIGRATIONS, step))
    assert connection.pragma("user_version") == MIGRATIONS[-1].version
    found = list(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'a'"))
    connection.close()
    assert found == []


def test_every_table_is_strict(state: State) -> None:
    tables = rows(
        state,
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'",
    )
    assert {
        name for name, strict in tables if not strict and not str(name).startswith("sqlite_")
    } == set()


def test_effects_are_rows_of_every_table_that_names_its_last_request(state: State) -> None:
    tables = rows(
        state,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND EXISTS"
        " (SELECT 1 FROM pragma_table_info(sqlite_schema.name) AS c WHERE c.name = 'request_id')",
    )
    ((view,),) = rows(state, "SELECT sql FROM sqlite_schema WHERE type = 'view'")
    found = set(re.findall(r"FROM (\w+)", str(view)))
    # The log is what effects are compared with, and a secret is a part of its token.
    assert {name for (name,) in tables} - {"audit", "token_secrets"} == found


def test_a_tampered_tail_of_the_audit_log_is_refused_at_start(state: State) -> None:
    alter(state, "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
    refused = sonia(state, "run", "gateway")
    assert refused.returncode == 78
    assert "audit log was tampered with" in refused.stderr


def test_a_disk_error_under_commit_is_fatal(state: State) -> None:
    """After it nobody knows what is durable, so nothing may be answered any more."""
    from service.audit.chain import Chain, read_head
    from service.audit.checkpoints import CheckpointWriter
    from service.storage.writer import Operation, Writer

    class Failing:
        """A connection whose COMMIT meets a disk error."""

        def __init__(self, real: apsw.Connection) -> None:
            self._real = real

        in_transaction = True

        def execute(self, statement: str, bindings: object = None) -> object:
            if statement == "COMMIT":
                raise apsw.IOError("disk I/O error")
            return self._real.execute(statement, bindings)  # type: ignore[arg-type]

        def close(self) -> None:
            self._real.close()

    told: list[str] = []
    outcomes: list[Exception | None] = []
    real = open_database(state.directory.database, StorageSettings())
    chain = Chain(b"k" * 32, read_head(real))
    writer = Writer(
        Failing(real),  # type: ignore[arg-type]
        StorageSettings(),
        chain,
        CheckpointWriter(state.directory.checkpoints, b"k" * 32, 100, 0),
        told.append,
    )
    writer.start()
    writer.submit(Operation(lambda _: (None, None), lambda done: outcomes.append(done.error)))
    writer.stop()
    assert len(told) == 1
    assert isinstance(outcomes[0], Unavailable)

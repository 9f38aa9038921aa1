"""What is over ends after so many days, and what is not over does not."""

import asyncio
from contextlib import closing
from functools import partial

import apsw
import pytest
from msgspec.structs import replace

from service.control import open_control
from service.effects import Effect, system_cause
from service.retention import ROWS_A_STEP, Retention, rules
from service.settings import RetentionSettings
from service.supervisor.records import begin_boot, restore_budgets
from tests.service.conformance.conversation import command
from tests.service.gateway.inprocess import inside
from tests.service.running import State, alter, rows

NOW = 1_000_000
SESSION = (
    "INSERT INTO sessions (id, label, created_at_ms, expires_at_ms, closed_at_ms, turn_count, created_by,"
    " request_id) VALUES (?, '', 0, ?, ?, 0, 't', 'r')"
)
TURN = (
    "INSERT INTO turns (id, session_id, at_ms, text, answer, degraded, created_by, request_id)"
    " VALUES (?, ?, ?, '', '', 0, 't', 'r')"
)
TASK = (
    "INSERT INTO tasks (id, kind, payload, session_id, status, created_at_ms, updated_at_ms, created_by,"
    " request_id) VALUES (?, 'k', '{}', ?, ?, 0, ?, 't', 'r')"
)
RUN = (
    "INSERT INTO tool_runs (id, tool, args, args_sha256, confirmation_id, task_id, status, created_at_ms, updated_at_ms,"
    " created_by, request_id) VALUES (?, 't', x'', '', ?, ?, ?, 0, ?, 't', 'r')"
)
QUESTION = (
    "INSERT INTO confirmations (id, tool, args, args_sha256, status, created_at_ms, expires_at_ms, decided_at_ms,"
    " created_by, request_id, task_id) VALUES (?, 't', x'', '', ?, 0, ?, ?, 't', 'r', ?)"
)
LETTER = (
    "INSERT INTO dead_letters (id, task_id, reason, at_ms, created_by, request_id)"
    " VALUES (?, ?, '', ?, 't', 'r')"
)
OWED = (
    "INSERT INTO outbox (effect_key, aggregate, kind, payload, status, created_at_ms, updated_at_ms, created_by,"
    " request_id) VALUES (?, 'memory', 'memory.store', '{}', ?, 0, ?, 't', 'r')"
)
KEY = (
    "INSERT INTO idempotency (actor_id, route, key, payload_sha256, state, created_at_ms)"
    " VALUES ('a', 'r', ?, '', ?, ?)"
)

BOOT = "INSERT INTO boots (id, at_ms, ended_at_ms) VALUES (?, ?, ?)"
RESTART = (
    "INSERT INTO restart_attempts (id, service_name, cause, at_ms, boot_id, request_id)"
    " VALUES (?, ?, 'exit', ?, ?, 'r')"
)
BUDGET = "INSERT INTO restart_budgets VALUES (?, ?, ?, 0, 0, ?)"


def left(connection: apsw.Connection, table: str, column: str = "id") -> list[object]:
    for rule, _ in rules(RetentionSettings()):
        found = rule.find(connection, NOW)
        rule.delete(connection, found, NOW)
    return [row[0] for row in connection.execute(f"SELECT {column} FROM {table} ORDER BY 1")]


@pytest.mark.parametrize("state", ["done", "secret", "interrupted"])
def test_keys_end_unless_their_request_runs(connection: apsw.Connection, state: str) -> None:
    for key, its, at_ms in ("old", state, NOW - 1), ("new", state, NOW), ("runs", "in_flight", 0):
        connection.execute(KEY, (key, its, at_ms))
    assert left(connection, "idempotency", "key") == ["new", "runs"]


def test_what_was_delivered_ends_and_what_is_owed_does_not(connection: apsw.Connection) -> None:
    for key, status, at_ms in (
        ("old", "delivered", NOW - 1),
        ("new", "delivered", NOW),
        ("owed", "pending", 0),
        ("refused", "needs_operator", 0),
    ):
        connection.execute(OWED, (key, status, at_ms))
    assert left(connection, "outbox", "effect_key") == ["new", "owed", "refused"]


def test_a_session_ends_with_its_turns_unless_something_is_about_it(
    connection: apsw.Connection,
) -> None:
    for session, expires, closed in (
        ("old", NOW - 1, None),
        ("closed", NOW + 9, NOW - 1),
        ("open", NOW + 9, None),
        ("asked", 1, None),
    ):
        connection.execute(SESSION, (session, expires, closed))
        connection.execute(TURN, (f"turn {session}", session, 1))
    connection.execute(TASK, ("task", "asked", "queued", 0))
    connection.execute(TURN, ("turn alone", None, 1))
    connection.execute(TURN, ("turn new", None, NOW))
    assert left(connection, "sessions") == ["asked", "open"]
    assert left(connection, "turns") == ["turn new", "turn open"]


def test_dead_letters_end(connection: apsw.Connection) -> None:
    for letter, at_ms in ("old", NOW - 1), ("new", NOW):
        connection.execute(TASK, (f"task {letter}", None, "failed", 1))
        connection.execute(LETTER, (letter, f"task {letter}", at_ms))
    assert left(connection, "dead_letters") == ["new"]
    assert left(connection, "tasks") == ["task new"]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "queued", "running"])
def test_tasks_end_when_they_are_over_and_nothing_is_about_them(
    connection: apsw.Connection, status: str
) -> None:
    connection.execute(TASK, ("old", None, status, NOW - 1))
    connection.execute(TASK, ("new", None, status, NOW))
    over = status in ("completed", "failed", "cancelled")
    for about in ("asked", "ran", "lost", "given up", "replayed"):
        connection.execute(TASK, (about, None, status, 1))
    connection.execute(QUESTION, ("q", "expired", NOW, None, "asked"))
    connection.execute(RUN, ("r1", None, "ran", "succeeded", NOW))
    connection.execute(RUN, ("r2", None, "lost", "needs_operator", 1))
    connection.execute(LETTER, ("l", "given up", NOW))
    connection.execute("UPDATE dead_letters SET replayed_as = 'replayed'")
    kept = ["asked", "given up", "lost", "new", "ran", "replayed"]
    assert left(connection, "tasks") == sorted(kept if over else [*kept, "old"])


def test_runs_and_then_the_questions_that_they_answer_end(connection: apsw.Connection) -> None:
    for question, status, expires, decided in (
        ("old", "expired", NOW - 1, None),
        ("decided", "denied", NOW + 9, NOW - 1),
        ("ran", "approved", NOW, 1),
        ("runs", "approved", 1, 1),
        ("late", "denied", 1, NOW),
        ("open", "pending", 1, None),
    ):
        connection.execute(QUESTION, (question, status, expires, decided, None))
    for run, answers, status, at_ms in (
        ("r1", "ran", "verification_failed", NOW - 1),
        ("r2", "runs", "needs_operator", 1),
        ("r3", None, "started", 1),
        ("r4", None, "failed", NOW),
    ):
        connection.execute(RUN, (run, answers, None, status, at_ms))
    assert left(connection, "confirmations") == ["late", "open", "runs"]
    assert left(connection, "tool_runs") == ["r2", "r3", "r4"]


def test_restarts_end_unless_a_budget_counts_them_and_boots_after_them(
    connection: apsw.Connection,
) -> None:
    for boot, at_ms, ended_ms in (
        ("old", 1, NOW - 1),
        ("cut off", 2, None),
        ("counts", 3, 4),
        ("long", 4, NOW),
        ("last", 5, 6),
    ):
        connection.execute(BOOT, (boot, at_ms, ended_ms))
    for service, window_start_ms, count in ("memory", NOW, 1), ("tools", 3, 1):
        connection.execute(BUDGET, (service, window_start_ms, count, NOW))
    for restart, service, at_ms, boot in (
        ("old", "memory", 1, "old"),
        ("older than its window", "tools", 2, "cut off"),
        ("counts", "tools", 3, "counts"),
        ("new", "memory", NOW, "long"),
    ):
        connection.execute(RESTART, (restart, service, at_ms, boot))
    budgets = restore_budgets(connection)
    assert left(connection, "restart_attempts") == ["counts", "new"]
    assert left(connection, "boots") == ["counts", "last", "long"]
    assert restore_budgets(connection) == budgets
    assert begin_boot(connection, "next", NOW)


def test_what_was_sealed_ends_with_a_row_that_says_so(state: State) -> None:
    rule = next(rule for rule, _ in rules(RetentionSettings()) if rule.table == "confirmations")

    def ask(connection: apsw.Connection) -> Effect[None]:
        connection.execute(QUESTION, ("q", "denied", 1, 1, None))
        return Effect(None, "confirmations", "q")

    with closing(open_control(state.directory)) as control:
        control.storage.change_now(system_cause("test", "ask", "r"), ask)
        found = control.storage.read(lambda connection: rule.find(connection, NOW))
        sweep = system_cause("retention", "retention.sweep", "s")
        control.storage.change_now(sweep, partial(rule.delete, found=found, before_ms=NOW))
    verify = ("audit", "verify", "--state", str(state.directory.root))
    assert rows(state, "SELECT id FROM confirmations") == []
    assert command(*verify)[0] == 0
    alter(state, QUESTION, "q", "denied", 1, 1, None)
    code, *said = command(*verify)
    assert code == 1
    assert "confirmations 'q' is not as the log says" in "".join(said)


def test_what_has_changed_since_it_was_found_stays(connection: apsw.Connection) -> None:
    connection.execute(KEY, ("old", "done", 1))
    rule, _ = next(rules(RetentionSettings()))
    found = rule.find(connection, NOW)
    connection.execute("UPDATE idempotency SET created_at_ms = ?", (NOW,))
    effect = rule.delete(connection, found, NOW)
    assert (effect.table, effect.detail["rows"]) == ("idempotency", 0)


def test_a_sweep_goes_in_steps_each_of_which_is_in_the_log(state: State) -> None:
    for number in range(ROWS_A_STEP + 1):
        alter(state, KEY, f"{number}", "done", 1)

    async def run() -> None:
        services = gateway.services
        days = replace(services.settings, retention=RetentionSettings(idempotency_days=1e-9))
        sweeper = Retention(replace(gateway.control, settings=days), services.new_id)
        await sweeper.timer.round()
        await sweeper.timer.round()
        assert sweeper.timer.errors == 0

    with inside(state) as gateway:
        asyncio.run(run())
    assert rows(state, "SELECT count(*) FROM idempotency") == [(0,)]
    said = rows(
        state,
        "SELECT actor_id, outcome, target, detail ->> '$.rows' FROM audit WHERE action = 'retention.sweep'",
    )
    assert said == [
        ("system:retention", "system", "idempotency", ROWS_A_STEP),
        ("system:retention", "system", "idempotency", 1),
    ]

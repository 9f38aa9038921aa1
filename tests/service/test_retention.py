"""What is over ends after so many days, and what is not over does not."""

import asyncio

import apsw
import pytest

from service.retention import ROWS_A_STEP, Retention, rules
from service.settings import RetentionSettings
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
    " request_id) VALUES (?, 'k', '{}', ?, 'completed', 0, 0, 't', 'r')"
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
    connection.execute(TASK, ("task", "asked"))
    connection.execute(TURN, ("turn alone", None, 1))
    connection.execute(TURN, ("turn new", None, NOW))
    assert left(connection, "sessions") == ["asked", "open"]
    assert left(connection, "turns") == ["turn new", "turn open"]


def test_dead_letters_end(connection: apsw.Connection) -> None:
    for letter, at_ms in ("old", NOW - 1), ("new", NOW):
        connection.execute(TASK, (f"task {letter}", None))
        connection.execute(LETTER, (letter, f"task {letter}", at_ms))
    assert left(connection, "dead_letters") == ["new"]


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
        days = RetentionSettings(idempotency_days=1e-9)
        sweeper = Retention(services.storage, services.clock, days, services.new_id)
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

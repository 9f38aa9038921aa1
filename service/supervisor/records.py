"""What is written down about restarts: boots, attempts, and the budget that is left. Functions on a connection."""

from collections.abc import Mapping
from typing import Literal

import apsw
import msgspec

from service.effects import Effect
from service.jsontypes import Json
from service.query import select
from service.supervisor.budget import Budget


class Attempt(msgspec.Struct, frozen=True):
    """One spawn that is a restart, about to be made."""

    id: str
    cause: str
    boot_id: str
    request_id: str


class _Kept(msgspec.Struct, frozen=True):
    service_name: str
    attempt_count: int
    backoff_until_epoch_ms: int
    exhausted: Literal[0, 1]


class _Maintenance(msgspec.Struct, frozen=True):
    service_name: str
    enabled: Literal[0, 1]


def restore_budgets(connection: apsw.Connection) -> list[Budget]:
    """Read all budgets back, in order of their names. Raises msgspec.ValidationError for a row that is none."""
    rows = select(connection, _Kept, "FROM restart_budgets ORDER BY service_name")
    return [_restored(connection, row) for row in rows]


def _restored(connection: apsw.Connection, row: _Kept) -> Budget:
    # Not by time: a clock that was taken back has left some in the future.
    latest = connection.execute(
        "SELECT at_ms FROM restart_attempts WHERE service_name = ? ORDER BY seq DESC LIMIT ?",
        (row.service_name, row.attempt_count),
    )
    return Budget(
        row.service_name,
        tuple(msgspec.convert(at_ms, int) for (at_ms,) in reversed(list(latest))),
        row.backoff_until_epoch_ms,
        bool(row.exhausted),
    )


def restore_maintenance(connection: apsw.Connection) -> frozenset[str]:
    """Read back which processes are in maintenance."""
    rows = select(connection, _Maintenance, "FROM maintenance ORDER BY service_name")
    return frozenset(row.service_name for row in rows if row.enabled)


def begin_boot(connection: apsw.Connection, boot_id: str, now_ms: int) -> bool:
    """Record that a supervisor begins; returns whether the one before it came to its end."""
    before = list(connection.execute("SELECT ended_at_ms FROM boots ORDER BY seq DESC LIMIT 1"))
    connection.execute("INSERT INTO boots (id, at_ms) VALUES (?, ?)", (boot_id, now_ms))
    return all(ended_at_ms is not None for (ended_at_ms,) in before)


def end_boot(connection: apsw.Connection, boot_id: str, now_ms: int) -> None:
    """Record that a supervisor, and all that it started, has come to its end."""
    connection.execute("UPDATE boots SET ended_at_ms = ? WHERE id = ?", (now_ms, boot_id))


def record_attempt(
    connection: apsw.Connection, budget: Budget, attempt: Attempt, now_ms: int
) -> Effect[None]:
    """Write down an attempt, the last of `budget`, before its process is spawned."""
    connection.execute(
        "INSERT INTO restart_attempts (id, service_name, cause, at_ms, boot_id, request_id)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            attempt.id,
            budget.name,
            attempt.cause,
            budget.attempts_ms[-1],
            attempt.boot_id,
            attempt.request_id,
        ),
    )
    _keep(connection, budget, now_ms)
    return Effect(None, "restart_attempts", attempt.id, _told(budget, {"cause": attempt.cause}))


def record_budget(
    connection: apsw.Connection, budget: Budget, now_ms: int, why: Mapping[str, Json]
) -> Effect[None]:
    """Write down what a failure, or a reset, has left of a budget."""
    _keep(connection, budget, now_ms)
    return Effect(None, "restart_budgets", budget.name, _told(budget, why))


def record_maintenance(
    connection: apsw.Connection, name: str, enabled: bool, now_ms: int, request_id: str
) -> Effect[bool]:
    """Take a process out of supervision, or back into it."""
    connection.execute(
        "INSERT OR REPLACE INTO maintenance VALUES (?, ?, ?, ?)",
        (name, int(enabled), now_ms, request_id),
    )
    return Effect(enabled, "maintenance", name, {"enabled": enabled})


def _keep(connection: apsw.Connection, budget: Budget, now_ms: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO restart_budgets VALUES (?, ?, ?, ?, ?, ?)",
        (
            budget.name,
            min((now_ms, *budget.attempts_ms)),
            len(budget.attempts_ms),
            budget.backoff_until_ms,
            int(budget.exhausted),
            now_ms,
        ),
    )


def _told(budget: Budget, more: Mapping[str, Json]) -> dict[str, Json]:
    return {
        **more,
        "attempt_count": len(budget.attempts_ms),
        "backoff_until_epoch_ms": budget.backoff_until_ms,
        "exhausted": budget.exhausted,
    }

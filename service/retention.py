"""What is over is kept for so long, and then deleted: in steps that hold nobody up, each with its audit row.

What is old enough is looked for beside the writer; the writer deletes what is so still, a few rows at a time, and other
writes come between. What is not over is never old enough: a key whose request runs, what memory has not got, what waits
for an operator, what something else is still about (a task with a dead letter, a session with a task), and restarts that a
budget counts.

The audit log is moved, not deleted: service/audit/archive.py.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import apsw
import msgspec

from service.audit.archive import copy_step, delete_step
from service.audit.seals import ALL, SEALED, gone
from service.control import Control
from service.effects import Cause, Effect, system_cause
from service.ids import NewId
from service.jsontypes import Json
from service.settings import RetentionSettings
from service.timers import Timer

SWEEP_EVERY_S: Final = 600.0
ROWS_A_STEP: Final = 200
MOST_A_SWEEP: Final = 100_000
_MS_A_DAY: Final = 86_400_000


class Rule(msgspec.Struct, frozen=True):
    """Which rows of a table are over before ?1. `keys` name one of its rows; where rows are sealed, their `id` does."""

    table: str
    over: str
    keys: tuple[str, ...] = ("seq",)

    def find(self, connection: apsw.Connection, before_ms: int) -> list[bytes]:
        """Name rows that are over, each as JSON; as many as one sweep deletes."""
        rows = connection.execute(
            f"SELECT {', '.join(self.keys)} FROM {self.table} WHERE {self.over} LIMIT ?2",  # noqa: S608 - our own words
            (before_ms, MOST_A_SWEEP),
        )
        return [msgspec.json.encode(row) for row in rows]

    def delete(
        self, connection: apsw.Connection, found: Sequence[bytes], before_ms: int
    ) -> Effect[None]:
        """Delete those of `found` that are over still."""
        values = ", ".join(f"value ->> {place}" for place in range(len(self.keys)))
        rows = connection.execute(
            f"DELETE FROM {self.table} WHERE ({', '.join(self.keys)}) IN (SELECT {values} FROM json_each(?2))"  # noqa: S608 - our own words
            f" AND {self.over} RETURNING {self.keys[0]}",
            (before_ms, f"[{b','.join(found).decode()}]"),
        )
        deleted = [str(row[0]) for row in rows]
        detail: dict[str, Json] = {"rows": len(deleted), "before_ms": before_ms}
        if self.table in ALL:
            detail[SEALED] = gone(self.table, deleted)
        return Effect(None, self.table, f"before {before_ms}", detail)


def rules(settings: RetentionSettings) -> Iterator[tuple[Rule, float]]:
    """Each rule with the days for which what is over is kept."""
    yield (
        Rule(
            "idempotency",
            "state <> 'in_flight' AND created_at_ms < ?1",
            ("actor_id", "route", "key"),
        ),
        settings.idempotency_days,
    )
    yield Rule("outbox", "status = 'delivered' AND updated_at_ms < ?1"), settings.outbox_days
    yield Rule("dead_letters", "at_ms < ?1"), settings.dead_letters_days
    # What something else is about goes after it.
    yield (
        Rule(
            "tool_runs",
            "status IN ('succeeded', 'failed', 'verification_failed') AND updated_at_ms < ?1",
        ),
        settings.tasks_days,
    )
    yield (
        Rule(
            "confirmations",
            "status <> 'pending' AND coalesce(decided_at_ms, expires_at_ms) < ?1"
            + _alone("confirmations", "tool_runs.confirmation_id"),
            ("id",),
        ),
        settings.tasks_days,
    )
    yield (
        Rule(
            "tasks",
            "status IN ('completed', 'failed', 'cancelled') AND updated_at_ms < ?1"
            + _alone(
                "tasks",
                "tool_runs.task_id",
                "confirmations.task_id",
                "dead_letters.task_id",
                "dead_letters.replayed_as",
            ),
        ),
        settings.tasks_days,
    )
    yield (
        Rule(
            "turns",
            "at_ms < ?1 AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.id = turns.session_id"
            " AND coalesce(closed_at_ms, expires_at_ms) >= ?1)",
        ),
        settings.sessions_days,
    )
    yield (
        Rule(
            "sessions",
            "coalesce(closed_at_ms, expires_at_ms) < ?1"
            + _alone(
                "sessions", "turns.session_id", "tasks.session_id", "confirmations.session_id"
            ),
        ),
        settings.sessions_days,
    )
    yield (
        Rule(
            "restart_attempts",
            "at_ms < ?1 AND NOT EXISTS (SELECT 1 FROM restart_budgets AS budget"
            " WHERE budget.service_name = restart_attempts.service_name"
            " AND budget.window_start_ms <= restart_attempts.at_ms)",
        ),
        settings.restarts_days,
    )
    # The newest tells the next start how it ended.
    yield (
        Rule(
            "boots",
            "coalesce(ended_at_ms, at_ms) < ?1 AND seq < (SELECT max(seq) FROM boots)"
            " AND id NOT IN (SELECT boot_id FROM restart_attempts)",
        ),
        settings.restarts_days,
    )


def _alone(table: str, *about: str) -> str:
    """That no other row is about one of `table`; `about` are the columns that would hold its id."""
    return "".join(
        f" AND NOT EXISTS (SELECT 1 FROM {column.partition('.')[0]} AS other"  # noqa: S608 - our own words
        f" WHERE other.{column.partition('.')[2]} = {table}.id)"
        for column in about
    )


class Retention:
    """Sweeps when it starts, and again and again."""

    def __init__(self, control: Control, new_id: NewId) -> None:
        self.timer = Timer("retention", SWEEP_EVERY_S, self.sweep)
        self._control = control
        self._storage = control.storage
        self._settings = control.settings.retention
        self._new_id = new_id

    async def sweep(self) -> None:
        """Delete what has been over for long enough, and archive old rows of the log. Raises Unavailable when that cannot be written."""
        request_id = self._new_id("sweep")
        for rule, days in rules(self._settings):
            before_ms = self._before_ms(days)
            found = await self._storage.read_apart(partial(rule.find, before_ms=before_ms))
            cause = system_cause("retention", "retention.sweep", request_id, rule.table)
            for start in range(0, len(found), ROWS_A_STEP):
                step = found[start : start + ROWS_A_STEP]
                await self._storage.change(
                    cause, partial(rule.delete, found=step, before_ms=before_ms)
                )
        while await self._archive(system_cause("retention", "audit.archive", request_id)):
            pass

    def _before_ms(self, days: float) -> int:
        return self._control.clock.now_ms() - round(days * _MS_A_DAY)

    async def _archive(self, cause: Cause) -> bool:
        """Move the next old rows of the log into its archive; whether there were some."""
        keys = self._control.keys.audit_keys()
        step = await self._storage.read_apart(
            partial(
                copy_step,
                path=self._control.state.archive,
                keys=keys,
                before_ms=self._before_ms(self._settings.audit_days),
                settings=self._control.settings.storage,
            )
        )
        if step is not None:
            await self._storage.change(cause, partial(delete_step, step=step, keys=keys))
        return step is not None

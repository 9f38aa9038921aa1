"""Accepting a clock that once ran ahead, without reviving what had ended by it."""

import apsw

from service.audit.seals import SEALED, seals
from service.clock import Clock, create_clock, open_clock
from service.control import open_control
from service.effects import Effect, system_cause
from service.errors import StartRefused
from service.ids import random_id
from service.jsontypes import Json
from service.state import StateDir

_SETTLE = {
    "tokens": "UPDATE tokens SET revoked_at_ms = ?1, request_id = ?2"
    " WHERE revoked_at_ms IS NULL AND expires_at_ms <= ?1 RETURNING id",
    "token_secrets": "DELETE FROM token_secrets WHERE expires_at_ms <= ?1 AND ?2 IS NOT NULL RETURNING token_id",
    "sessions": "UPDATE sessions SET closed_at_ms = ?1, request_id = ?2"
    " WHERE closed_at_ms IS NULL AND expires_at_ms <= ?1 RETURNING id",
    "confirmations": "UPDATE confirmations SET status = 'expired', decided_at_ms = ?1,"
    " decided_by = 'system:doctor', request_id = ?2"
    " WHERE status = 'pending' AND expires_at_ms <= ?1 RETURNING id",
}


def accept_clock(state: StateDir) -> dict[str, int]:
    """Take the machine's clock as true from now on; return how much was settled, by table.

    In one transaction, whatever has ended by the old time is ended for good, so that going back
    revives nothing, and the audit row of it is the first by the new time. Call it while no gateway
    runs.
    """
    _ensure_mark(state)
    control = open_control(state)
    try:
        request_id = random_id("cli")
        cause = system_cause("doctor", "clock.accept", request_id)
        return control.storage.change_now(
            cause, lambda connection: _settle(connection, control.clock, request_id)
        )
    finally:
        control.close()


def _ensure_mark(state: StateDir) -> None:
    try:
        open_clock(state.clock)
    except StartRefused:
        # Without a readable mark, the last audit row still holds the time up while we settle.
        create_clock(state.clock)


def _settle(connection: apsw.Connection, clock: Clock, request_id: str) -> Effect[dict[str, int]]:
    before_ms = clock.now_ms()
    ended = {
        table: [str(row[0]) for row in connection.execute(statement, (before_ms, request_id))]
        for table, statement in _SETTLE.items()
    }
    settled = {table: len(ids) for table, ids in ended.items()}
    sealed: Json = {
        "tokens": dict(seals(connection, "tokens", {*ended["tokens"], *ended["token_secrets"]})),
        "confirmations": dict(seals(connection, "confirmations", ended["confirmations"])),
    }
    clock.forget()
    times: dict[str, Json] = {"before_ms": before_ms, "after_ms": clock.now_ms()}
    detail = {**times, **settled, SEALED: sealed}
    return Effect(settled, "clock", "mark", detail, clock.sync)

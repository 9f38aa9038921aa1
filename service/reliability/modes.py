"""Which mode an objective is in, as it outlives a restart. Functions on a connection."""

import apsw
import msgspec

from service.effects import Effect
from service.jsontypes import Json
from service.query import select
from service.reliability.slo import Mode

TURNS = "turns"
"""The one objective that there is."""


class KeptMode(msgspec.Struct, frozen=True):
    """A mode, since when it is in force, and the how manyeth it is; the first one has no row."""

    mode: Mode = Mode.NORMAL
    since_ms: int = 0
    transitions: int = 0


def read_mode(connection: apsw.Connection) -> KeptMode:
    """The mode that was in force last. Raises msgspec.ValidationError for a row that is none."""
    rows = select(connection, KeptMode, "FROM slo_modes WHERE objective = ?", (TURNS,))
    return rows[0] if rows else KeptMode()


def record_mode(
    connection: apsw.Connection, kept: KeptMode, request_id: str, why: dict[str, Json]
) -> Effect[None]:
    """Write down that a mode has begun, and what it began for."""
    connection.execute(
        "INSERT OR REPLACE INTO slo_modes (objective, mode, since_ms, transitions, request_id)"
        " VALUES (?, ?, ?, ?, ?)",
        (TURNS, kept.mode.value, kept.since_ms, kept.transitions, request_id),
    )
    return Effect(None, "slo_modes", TURNS, {"mode": kept.mode.value, **why})


def count_canary(connection: apsw.Connection) -> None:
    """What a canary writes in the place of its turn, so that it waits for the disk as a turn does."""
    connection.execute("UPDATE slo_modes SET canaries = canaries + 1 WHERE objective = ?", (TURNS,))

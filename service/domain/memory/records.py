"""Memories that were accepted: owed to the memory process until it has them."""

from typing import Final

import apsw
import msgspec

from service.domain.sessions.records import live_session
from service.effects import Effect, Origin
from service.messages.memory import MemoryText, StoreMemory
from service.outbox.dispatcher import Outbox
from service.outbox.records import STORE_MEMORY, NewOwed, Status
from service.query import require_one

OF_NO_SESSION: Final = "memory"
"""What is to be remembered in no session is kept in one order."""


class NewMemory(msgspec.Struct, frozen=True):
    """What is to be remembered, and in which session it was said, if in one."""

    text: MemoryText
    session_id: str | None = None


class AcceptedMemory(msgspec.Struct, frozen=True):
    """A memory on its way. It is found once it is `delivered`; `needs_operator`: the memory process does not take it."""

    id: str
    session_id: str | None
    status: Status
    created_at_ms: int
    updated_at_ms: int
    created_by: str


_ACCEPTED: Final = """
    (SELECT *, effect_key AS id, payload ->> '$.session_id' AS session_id FROM outbox WHERE kind = ?1)
"""


def find(connection: apsw.Connection, memory_id: str) -> AcceptedMemory:
    """Read what became of a memory that was accepted. Raises NotFound."""
    rest = f"FROM {_ACCEPTED} WHERE id = ?2"
    return require_one(
        connection, AcceptedMemory, rest, (STORE_MEMORY, memory_id), f"memory {memory_id}"
    )


def accept_memory(
    connection: apsw.Connection, outbox: Outbox, memory_id: str, new: NewMemory, origin: Origin
) -> Effect[AcceptedMemory]:
    """Owe a memory, after all that the same session was promised before. Raises NotFound and Conflict for it."""
    if new.session_id is not None:
        live_session(connection, new.session_id, origin.now_ms)
    payload = msgspec.json.encode(StoreMemory(new.text, memory_id, new.session_id))
    owed = NewOwed(memory_id, new.session_id or OF_NO_SESSION, STORE_MEMORY, payload)
    effect = outbox.owe(connection, owed, origin)
    return Effect(
        find(connection, memory_id), effect.table, effect.id, effect.detail, effect.after_commit
    )

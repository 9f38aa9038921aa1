"""Turns: the gateway asks memory what is relevant, then the model, and answers whatever happens to them."""

from typing import Annotated, Final

import apsw
import msgspec

from service.dependencies import Dependencies, MemoryUnavailable, ModelUnavailable
from service.domain.call import Call
from service.domain.sessions.records import count_turn, live_session
from service.effects import Effect
from service.messages.builtin import fallback_answer
from service.messages.memory import MAX_MEMORIES, MAX_TEXT_CHARS, Memory
from service.settings import TurnSettings

MEMORY_UNAVAILABLE: Final = "memory_unavailable"
MODEL_UNAVAILABLE: Final = "model_unavailable"


class TurnRequest(msgspec.Struct, frozen=True):
    """What is said to SONIA, and in which session, if in one."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    session_id: str | None = None


class TurnAnswer(msgspec.Struct, frozen=True):
    """The answer. `degraded` says that memory, the model or both were missing, and `degraded_reasons` which."""

    turn_id: str
    session_id: str | None
    answer: str
    memories: list[Memory]
    degraded: bool
    degraded_reasons: list[str]


class _Thought(msgspec.Struct, frozen=True):
    """What came of asking memory and model."""

    answer: str
    memories: list[Memory]
    degraded_reasons: list[str]


async def answer_turn(call: Call, request: TurnRequest) -> TurnAnswer:
    """Ask memory, ask the model, record the turn; the same for a request and for a frame of a stream.

    The turn, the session's count and the audit row are one transaction. Raises NotFound and Conflict for the session,
    Unavailable when nothing can be recorded; nothing for memory or model.
    """
    session_id, now_ms = request.session_id, call.now_ms()
    if session_id is not None:
        # Asked before memory and model, so that a dead session costs them nothing; the commit asks again.
        call.storage.read(lambda connection: live_session(connection, session_id, now_ms))
    thought = await _think(
        call.services.dependencies, call.services.settings.turn, request.text, call.request_id
    )
    turn = TurnAnswer(
        turn_id=call.services.new_id("turn"),
        session_id=session_id,
        answer=thought.answer,
        memories=thought.memories,
        degraded=bool(thought.degraded_reasons),
        degraded_reasons=thought.degraded_reasons,
    )
    return await call.storage.change(
        call.cause("turn.take", turn.turn_id),
        lambda connection: _record(connection, call, request.text, turn),
    )


async def _think(
    dependencies: Dependencies, limits: TurnSettings, text: str, request_id: str
) -> _Thought:
    reasons = []
    memories: list[Memory] = []
    try:
        memories = await dependencies.memory.search(
            text, max_tokens=limits.memory_max_tokens, limit=MAX_MEMORIES, request_id=request_id
        )
    except MemoryUnavailable:
        reasons.append(MEMORY_UNAVAILABLE)
    try:
        answer = await dependencies.model.answer(
            text, [memory.text for memory in memories], request_id=request_id
        )
    except ModelUnavailable:
        reasons.append(MODEL_UNAVAILABLE)
        answer = fallback_answer(text)
    return _Thought(answer, memories, reasons)


def _record(
    connection: apsw.Connection, call: Call, text: str, turn: TurnAnswer
) -> Effect[TurnAnswer]:
    now_ms = call.now_ms()
    if turn.session_id is not None:
        count_turn(connection, turn.session_id, now_ms, call.request_id)
    connection.execute(
        "INSERT INTO turns (id, session_id, at_ms, text, answer, degraded, created_by, request_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            turn.turn_id,
            turn.session_id,
            now_ms,
            text,
            turn.answer,
            int(turn.degraded),
            call.actor.id,
            call.request_id,
        ),
    )
    return Effect(turn, "turns", turn.turn_id, {"degraded_reasons": turn.degraded_reasons})

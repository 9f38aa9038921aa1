"""Turns: the gateway asks memory what is relevant, then the model, and answers whatever happens to them."""

from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Final, TypeVar

import apsw
import msgspec

from service.auth.credentials import Actor
from service.dependencies import DependencyUnavailable, MemoryUnavailable, ModelUnavailable
from service.dependencies.breaker import BreakerState, lets_through
from service.domain.call import Call, Services
from service.domain.sessions.records import Facts, count_turn, judge_session, life_of
from service.effects import Effect
from service.messages.builtin import fallback_answer
from service.messages.memory import MAX_MEMORIES, MAX_TEXT_CHARS, Memory
from service.reliability.ingress import cost_of
from service.reliability.modes import count_canary
from service.reliability.verdicts import Queue
from service.settings import Part

T = TypeVar("T")
MEMORY_UNAVAILABLE: Final = "memory_unavailable"
MODEL_UNAVAILABLE: Final = "model_unavailable"
MEMORY_OFF: Final = "memory_switched_off"
MODEL_OFF: Final = "model_switched_off"
CANARY: Final = Actor("system:slo", "system", "canary")
"""Who asks what SONIA asks itself."""
_CANARY_TEXT: Final = "canary"


class TurnRequest(msgspec.Struct, frozen=True):
    """What is said to SONIA, and in which session, if in one."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    session_id: str | None = None


class TurnAnswer(msgspec.Struct, frozen=True):
    """The answer. `degraded` says that memory, the model or both were missing, and `degraded_reasons` which, and whether they
    could not be asked or degrade mode does without them.
    """

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
    """Ask memory, ask the model, record the turn; the same for a request, for a frame of a stream, and for a replay of either.

    The turn, the session's count and the audit row are one transaction. Raises NotFound and Conflict for the session,
    Unavailable when nothing can be recorded; nothing for memory or model.
    """
    _look_at_session(call, request.session_id)
    thought = await _think(call, request.text, spared=True)
    with call.trace.stage("commit") as stage:
        turn = TurnAnswer(
            turn_id=call.trace.take("id", lambda: call.services.new_id("turn"), str),
            session_id=request.session_id,
            answer=thought.answer,
            memories=thought.memories,
            degraded=bool(thought.degraded_reasons),
            degraded_reasons=thought.degraded_reasons,
        )
        await _commit(call, request.text, turn)
        stage.decide("committed")
    return turn


def in_turn_of(
    call: Call, request: TurnRequest, queue: Queue, lane: Hashable | None = None
) -> AbstractAsyncContextManager[None]:
    """Within this a turn is in flight, once it has waited in `queue` for that. Raises Unavailable where that does not come."""
    call.trace.envelope["turn"] = request
    return call.services.ingress.admitted(queue, cost_of(request.text), call.trace, lane)


async def send_canary(services: Services, request_id: str) -> bool:
    """Take the path of a turn, whatever is switched off, and leave none; return whether memory and model answered."""
    trace = services.traces.begin(request_id, "canary")
    call = Call(CANARY, request_id, "", "", services, trace)
    thought = await _think(call, _CANARY_TEXT, spared=False)
    await call.storage.do(count_canary)
    return not thought.degraded_reasons


def _look_at_session(call: Call, session_id: str | None) -> None:
    """Asked before memory and model, so that a dead session costs them nothing; the commit asks again."""
    if session_id is None:
        return
    with call.trace.stage("session") as stage:
        facts = call.trace.take(
            "facts",
            lambda: call.storage.read(lambda connection: _facts(connection, call, session_id)),
            Facts,
        )
        judge_session(session_id, facts.session, facts.now_ms)
        stage.decide("open")


class _SwitchedOff(Exception):
    """Degrade mode does without it."""


async def _think(call: Call, text: str, *, spared: bool) -> _Thought:
    """Ask memory and model; `spared` says whether degrade mode may spare them."""
    reasons = []
    memories: list[Memory] = []
    limits, dependencies = call.services.settings.turn, call.services.dependencies
    try:
        memories = await _consult(
            call,
            "memory",
            lambda: spared and call.services.slo.off(Part.MEMORY),
            lambda: dependencies.memory.search(
                text,
                max_tokens=limits.memory_max_tokens,
                limit=MAX_MEMORIES,
                request_id=call.request_id,
            ),
            list[Memory],
            MemoryUnavailable,
        )
    except MemoryUnavailable:
        reasons.append(MEMORY_UNAVAILABLE)
    except _SwitchedOff:
        reasons.append(MEMORY_OFF)
    answer = fallback_answer(text)
    try:
        answer = await _consult(
            call,
            "model",
            lambda: spared and call.services.slo.off(Part.MODEL),
            lambda: dependencies.model.answer(
                text, [memory.text for memory in memories], request_id=call.request_id
            ),
            str,
            ModelUnavailable,
        )
    except ModelUnavailable:
        reasons.append(MODEL_UNAVAILABLE)
    except _SwitchedOff:
        reasons.append(MODEL_OFF)
    return _Thought(answer, memories, reasons)


async def _consult(
    call: Call,
    name: str,
    off: Callable[[], bool],
    ask: Callable[[], Awaitable[T]],
    form: object,
    unavailable: type[DependencyUnavailable],
) -> T:
    """Ask a dependency, as degrade mode and its breaker say: the stage `name`. Raises `unavailable` or _SwitchedOff."""
    dependencies = call.services.dependencies
    with call.trace.stage(name) as stage:
        if call.trace.take("off", off, bool):
            stage.decide("switched_off", "degrade_mode")
            raise _SwitchedOff
        breaker = call.trace.take(
            "breaker", lambda: dependencies.by_name[name].breaker_state, BreakerState
        )
        if not lets_through(breaker):
            stage.decide("unavailable", "breaker_open")
            raise unavailable(f"{name} is down")
        try:
            found = await call.trace.ask(name, ask, form, (unavailable,))
        except unavailable:
            stage.decide("unavailable", "no_answer")
            raise
        stage.decide("answered")
        return found


async def _commit(call: Call, text: str, turn: TurnAnswer) -> None:
    session_id, cause = turn.session_id, call.cause("turn.take", turn.turn_id)

    def judge(facts: Facts) -> Facts:
        judge_session(session_id, facts.session, facts.now_ms)
        return facts

    await call.trace.transact(
        lambda run: call.storage.change(cause, run),
        lambda connection: _facts(connection, call, session_id),
        Facts,
        judge,
        lambda connection, facts: _record(connection, call, text, turn, facts.now_ms),
    )


def _facts(connection: apsw.Connection, call: Call, session_id: str | None) -> Facts:
    return Facts(life_of(connection, session_id), call.now_ms())


def _record(
    connection: apsw.Connection, call: Call, text: str, turn: TurnAnswer, now_ms: int
) -> Effect[None]:
    if turn.session_id is not None:
        count_turn(connection, turn.session_id, call.request_id)
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
    return Effect(None, "turns", turn.turn_id, {"degraded_reasons": turn.degraded_reasons})

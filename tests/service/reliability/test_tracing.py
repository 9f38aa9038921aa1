"""Traces: what is kept of a request, and the same functions over what was recorded."""

import asyncio
from typing import TypeVar

import apsw
import msgspec
import pytest

from service.effects import Effect
from service.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from service.reliability.replaying import Replayed
from service.reliability.tracing import (
    Answer,
    Event,
    Failed,
    Input,
    NotRecorded,
    Run,
    Trace,
    Traces,
    outcome_of,
    trace_class,
)

R = TypeVar("R")


class Broken(Exception):
    """A dependency's error."""


def decisions(trace: Trace) -> list[tuple[str, str, str]]:
    return [(each.name, each.decision, each.reason) for each in trace.stages]


def replayed(trace: Trace) -> Replayed:
    """`trace` as it comes back from a file."""
    recorded = [
        (
            each.name,
            [
                Input(one.kind, msgspec.json.decode(msgspec.json.encode(one.value)))
                for one in each.inputs
            ],
        )
        for each in trace.stages
    ]
    return Replayed(trace.request_id, trace.kind, recorded)


async def serve(trace: Trace, now_ms: int, expires_at_ms: int, error: Exception | None) -> None:
    """A request with a decision by time and a call of a dependency."""

    async def ask() -> str:
        if error is not None:
            raise error
        return "found"

    with trace.stage("session") as stage:
        now = trace.take("now_ms", lambda: now_ms, int)
        expires = trace.take("expires_at_ms", lambda: expires_at_ms, int)
        stage.decide("expired" if expires <= now else "open")
    with trace.stage("memory") as stage:
        try:
            await trace.ask("memory", ask, str, (Broken,))
            stage.decide("answered")
        except Broken as broken:
            stage.decide("unavailable", broken.args[0])


async def nothing_live(*_: object) -> None:
    pytest.fail("a replay calls nothing live")


@pytest.mark.parametrize("error", [None, Broken("timeout")])
def test_a_replay_decides_by_the_recorded_inputs(error: Exception | None) -> None:
    trace = Traces().begin("req_1", "http", "POST")
    asyncio.run(serve(trace, 10, 11, error))

    again = replayed(trace)
    asyncio.run(serve(again, 99, 0, RuntimeError("never called")))

    assert decisions(again) == decisions(trace)
    assert again.stages[0].inputs == [Input("now_ms", 10), Input("expires_at_ms", 11)]


def test_an_input_that_crosses_a_boundary_changes_the_class() -> None:
    trace = Trace("req_1", "http")
    asyncio.run(serve(trace, 10, 11, None))
    trace.stages[0].inputs[1] = Input("expires_at_ms", 10)

    again = replayed(trace)
    asyncio.run(serve(again, 0, 0, None))

    assert decisions(again)[0] == ("session", "expired", "")
    assert trace_class(tuple(decisions(again))) != trace_class(tuple(decisions(trace)))


def test_what_was_not_recorded_or_cannot_be_read_is_said() -> None:
    for recorded in ([], [("session", [Input("now_ms", "noon")])]):
        again = Replayed("req_1", "http", recorded)
        with pytest.raises(NotRecorded, match="now_ms"):
            asyncio.run(serve(again, 0, 0, None))
        assert decisions(again) == [("session", "not_recorded", "now_ms")]


async def transact(trace: Trace, change: object) -> str:
    def judge(count: int) -> str:
        if count > 2:
            raise Conflict("there are too many", "full")
        return "room"

    with trace.stage("commit") as stage:
        decided = await trace.transact(
            change,  # type: ignore[arg-type]
            lambda connection: int(connection.execute("SELECT count(*) FROM t").fetchone()[0]),  # type: ignore[index]
            int,
            judge,
            lambda connection, _: Effect(connection.execute("INSERT INTO t VALUES (1)"), "t", "1"),
        )
        stage.decide(decided)
        return decided


@pytest.mark.parametrize(
    ("rows", "commit", "decision"),
    [
        (0, None, ("room", "")),
        (3, None, ("refused", "full")),
        (0, Unavailable("the disk is full"), ("unavailable", "unavailable")),
        (0, OutcomeUnknown("the disk failed"), ("unknown", "outcome_unknown")),
    ],
)
@pytest.mark.parametrize("before", [False, True], ids=["in the transaction", "before it"])
def test_decisions_in_a_transaction_are_decided_again(
    rows: int, commit: Exception | None, decision: tuple[str, str], before: bool
) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t (a)")
    connection.executemany("INSERT INTO t VALUES (?)", [(0,)] * rows)

    async def change(run: Run[R]) -> R:
        if commit is not None and before:
            raise commit
        effect = run(connection)
        if commit is not None:
            raise commit
        return effect.result

    async def outcome(trace: Trace, change: object) -> object:
        try:
            return await transact(trace, change)
        except (Conflict, Unavailable, OutcomeUnknown) as error:
            return (error.code, error.detail)

    trace = Trace("req_1", "http")
    came_to = asyncio.run(outcome(trace, change))
    again = replayed(trace)

    assert asyncio.run(outcome(again, nothing_live)) == came_to
    assert decisions(again) == decisions(trace) == [("commit", *decision)]


def test_a_cancelled_request_is_unknown_and_replays_as_cancelled() -> None:
    async def for_ever() -> None:
        await asyncio.Event().wait()

    async def ask(trace: Trace) -> None:
        with trace.stage("model"):
            await trace.ask("model", for_ever, None)

    async def cancelled(trace: Trace) -> None:
        task = asyncio.create_task(ask(trace))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    traces = Traces()
    trace = traces.begin("req_1", "frame")
    asyncio.run(cancelled(trace))
    again = replayed(trace)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask(again))
    traces.finish(trace)

    assert decisions(again) == [("model", "cancelled", "")]
    assert trace.outcome == "unknown"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200), ("completed", "")),
        (Answer(101), ("completed", "")),
        (Answer(404, "not_found"), ("rejected", "not_found")),
        (Answer(503, "overloaded"), ("rejected", "overloaded")),
        (Answer(503, "shed"), ("shed", "")),
        (Answer(503, "unavailable"), ("failed", "unavailable")),
        (Answer(500, "internal_error"), ("failed", "internal_error")),
        (Answer(504, "tool_outcome_unknown"), ("unknown", "tool_outcome_unknown")),
        (Answer(0), ("unknown", "")),
    ],
)
def test_outcomes(answer: Answer, outcome: tuple[str, str]) -> None:
    assert outcome_of(answer) == outcome


def test_listeners_hear_of_each_trace_once_and_cannot_harm_it() -> None:
    heard: list[object] = []

    def fails(_: object) -> None:
        raise RuntimeError

    traces = Traces(wall=lambda: 1.5)
    for listener in (fails, heard.append):
        traces.on_finished(listener)
        traces.on_event(listener)
    trace = traces.begin("req_1", "http", "GET", "/healthz")
    trace.status = 200
    traces.finish(trace)
    traces.finish(trace)
    traces.event("breaker", "memory", {"state": "open"})

    assert heard == [trace, Event(1500.0, "breaker", "memory", {"state": "open"})]
    assert trace.began_ms == 1500.0
    assert trace.took_us > 0
    assert decisions(trace) == [("outcome", "completed", "")]


def test_errors_are_kept_with_what_they_are_made_of() -> None:
    trace = Trace("req_1", "http")

    def missing() -> int:
        raise NotFound("there is none", "unknown_tool")

    with pytest.raises(NotFound), trace.stage("policy"):
        trace.take("tool", missing, int)

    kept = trace.stages[0].inputs
    assert kept == [Input("tool", Failed("NotFound", ("there is none", "unknown_tool", None)))]
    again = replayed(trace)
    with pytest.raises(NotFound, match="there is none") as raised, again.stage("policy"):
        again.take("tool", missing, int)
    assert raised.value.code == "unknown_tool"

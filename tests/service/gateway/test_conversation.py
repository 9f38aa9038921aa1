"""A stream under load, without a server: what waits, what gives way, and what its caller is told, whether or not it reads."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from litestar.exceptions import WebSocketDisconnect

from service.auth.credentials import Actor
from service.domain.call import Call
from service.domain.turns.pipeline import TurnAnswer, TurnRequest
from service.errors import NotFound
from service.gateway import stream
from service.gateway.stream import Conversation
from service.gateway.telling import MOST_TOLD
from service.reliability.ingress import Ingress
from service.reliability.tracing import Trace, Traces
from service.reliability.verdicts import Queue, Wait, verdict_of
from service.settings import AdmissionSettings, QueueSettings

SMALL = AdmissionSettings(
    wait_s=3600,
    budget=4,
    stream=QueueSettings(floor=1, at_once=1),
    model=QueueSettings(floor=1),
    tool=msgspec.structs.replace(AdmissionSettings().tool, floor=1),
)


class Caller:
    """The other end of a stream: sends when told to, and reads as long as `reads` is set."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str | None] = asyncio.Queue()
        self.told: list[Any] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive_text(self) -> str:
        frame = await self.frames.get()
        if frame is None:
            raise WebSocketDisconnect(detail="", code=1000)
        return frame

    async def send_text(self, text: str) -> None:
        await self.reads.wait()
        self.told.append(json.loads(text))

    def turns(self, *names: object, text: str = "x") -> None:
        for name in names:
            self.frames.put_nowait(json.dumps({"type": "turn", "id": str(name), "text": text}))

    def of(self, kind: str) -> list[str]:
        """The ids of what was told of a kind: turn, pong, or the code of an error."""
        return [each["id"] for each in self.told if each.get("code", each["type"]) == kind]


class Model:
    """Answers when it may: `answer_turn`, with what was asked in the order in which it was begun."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def __call__(self, call: Call, request: TurnRequest) -> TurnAnswer:
        self.asked.append(request.text)
        await self.free.wait()
        if self.error is not None:
            raise self.error
        return TurnAnswer("turn_1", None, "yes", [], degraded=False, degraded_reasons=[])


class Stage:
    """One stream, its caller and its model."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self.ingress = Ingress(settings)
        self.traces: list[Trace] = []
        traces = Traces()
        traces.on_finished(self.traces.append)
        ids = iter(range(1_000_000))
        services: Any = SimpleNamespace(
            ingress=self.ingress,
            traces=traces,
            registry=SimpleNamespace(look_up=None),
            clock=SimpleNamespace(now_ms=lambda: 0),
            new_id=lambda kind: f"{kind}_{next(ids)}",
            settings=SimpleNamespace(auth=SimpleNamespace(enabled=False, stream_recheck_s=3600)),
        )
        actor = Actor("tok_1", "operator", "somebody")
        trace = traces.begin("req_0", "http")
        self.call = Call(actor, "req_0", "/v1/stream", "WEBSOCKET", services, trace)
        self.caller = Caller()
        self.model = Model()

    def counts(self) -> dict[str, int]:
        return msgspec.structs.asdict(self.ingress.snapshot().queues["stream"])

    async def until(self, condition: Callable[[], object]) -> None:
        """Let everybody go on until `condition` holds."""
        for _ in range(100_000):
            if condition():
                return
            await asyncio.sleep(0)
        pytest.fail(f"it did not come: {self.counts()}, {self.caller.told[-3:]}")


def on_stage(
    monkeypatch: pytest.MonkeyPatch, act: Any, settings: AdmissionSettings = SMALL
) -> Stage:
    """Run `act` beside a conversation, and the conversation to its end."""

    async def play() -> Stage:
        stage = Stage(settings)
        monkeypatch.setattr(stream, "answer_turn", stage.model)
        socket: Any = stage.caller
        talking = asyncio.create_task(Conversation(socket, stage.call, None).run())
        await act(stage)
        stage.caller.frames.put_nowait(None)
        assert await talking is None
        return stage

    stage = asyncio.run(play())
    counts = stage.counts()
    assert (counts["queued"], counts["in_flight"], counts["cost"]) == (0, 0, 0)
    return stage


def test_the_oldest_gives_way_is_told_so_and_the_newest_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act(stage: Stage) -> None:
        stage.caller.turns(*range(10))
        await stage.until(lambda: stage.counts()["submitted"] == 10)
        await stage.until(lambda: len(stage.caller.told) == 5)
        stage.model.free.set()
        await stage.until(lambda: len(stage.caller.told) == 10)

    stage = on_stage(monkeypatch, act)
    assert stage.caller.of("shed") == ["1", "2", "3", "4", "5"]
    assert stage.caller.of("turn") == ["0", "6", "7", "8", "9"]
    assert all("turn" in each.envelope for each in stage.traces)
    outcomes = [each.outcome for each in stage.traces]
    assert (outcomes.count("shed"), outcomes.count("completed")) == (5, 5)
    admits = [
        stage.inputs[0].value
        for trace in stage.traces
        for stage in trace.stages
        if stage.name == "admit"
    ]
    sequences = {each.sequence: verdict_of(each) for each in admits if isinstance(each, Wait)}
    assert [sequences[number] for number in range(1, 11)] == [
        "admitted",
        *5 * ["shed"],
        *4 * ["admitted"],
    ]


def test_turns_are_answered_one_after_the_other_and_a_ping_waits_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = AdmissionSettings(wait_s=3600)

    async def act(stage: Stage) -> None:
        stage.caller.turns(1, 2, 3)
        stage.caller.frames.put_nowait('{"type": "ping", "id": "p"}')
        await stage.until(lambda: stage.caller.of("pong") == ["p"] and stage.counts()["queued"])
        assert (len(stage.model.asked), stage.caller.of("turn")) == (1, [])
        stage.model.free.set()
        await stage.until(lambda: len(stage.caller.told) == 4)

    assert on_stage(monkeypatch, act, settings).caller.of("turn") == ["1", "2", "3"]


def test_whoever_does_not_read_is_owed_no_more_than_so_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = MOST_TOLD * 3

    async def act(stage: Stage) -> None:
        stage.caller.reads.clear()
        stage.model.free.set()
        stage.caller.turns(*range(many))
        for _ in range(many):
            stage.caller.frames.put_nowait("nonsense")
        await stage.until(stage.caller.frames.empty)
        await stage.until(lambda: stage.counts()["submitted"] == many)
        # Its answer is not taken, so nothing more is done for it, and nobody else waits for it.
        assert len(stage.model.asked) == 1
        assert stage.counts()["in_flight"] == 0
        stage.caller.reads.set()
        await stage.until(lambda: stage.counts()["completed"] == 5)
        await stage.until(
            lambda: sum(each.get("count", 1) for each in stage.caller.told) == 2 * many
        )

    told = on_stage(monkeypatch, act).caller.told
    assert len(told) <= MOST_TOLD + 2 + 5
    merged = {each["code"]: each for each in told if each.get("count", 1) > 1}
    assert merged["shed"]["id"] == str(many - 5)
    assert merged["invalid_frame"]["id"] is None


def test_a_stream_that_does_not_read_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act(stage: Stage) -> None:
        stage.caller.reads.clear()
        stage.model.free.set()
        stage.caller.turns(1, 2)
        await stage.until(lambda: stage.counts()["completed"] == 1)
        other: Any = Caller()
        talking = asyncio.create_task(Conversation(other, stage.call, None).run())
        other.turns("other")
        await stage.until(lambda: other.of("turn") == ["other"])
        other.frames.put_nowait(None)
        await talking

    on_stage(monkeypatch, act)


def test_a_caller_that_leaves_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: Stage) -> None:
        stage.caller.turns(1, 2, 3)
        await stage.until(lambda: stage.counts()["queued"] == 2)

    counts = on_stage(monkeypatch, act).counts()
    assert (counts["unknown"], counts["abandoned"], counts["shed"]) == (1, 2, 2)


@pytest.mark.parametrize(
    ("error", "code", "outcome"),
    [
        (NotFound("no session"), "not_found", "failed"),
        (ZeroDivisionError("secret"), "outcome_unknown", "unknown"),
    ],
)
def test_a_turn_that_fails_is_told_and_counted(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, outcome: str
) -> None:
    async def act(stage: Stage) -> None:
        stage.model.error = error
        stage.model.free.set()
        stage.caller.turns(1)
        await stage.until(lambda: stage.caller.told)

    stage = on_stage(monkeypatch, act)
    assert stage.caller.of(code) == ["1"]
    assert stage.counts()[outcome] == 1
    assert "secret" not in stage.caller.told[0]["detail"]


def test_what_waits_elsewhere_within_its_floor_is_not_flooded_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act(stage: Stage) -> None:
        waits = [stage.ingress.admitted(Queue.TOOL, 1, Trace("req", "http")) for _ in range(4)]
        for each in waits[:3]:
            await each.__aenter__()
        waiting = asyncio.ensure_future(waits[3].__aenter__())
        await stage.until(lambda: stage.ingress.snapshot().queues["tool"].queued == 1)
        stage.caller.turns(*range(20))
        await stage.until(lambda: stage.counts()["submitted"] == 20)
        assert not waiting.done()
        await waits[0].__aexit__(None, None, None)
        await waiting
        for each in waits[1:]:
            await each.__aexit__(None, None, None)
        assert stage.ingress.snapshot().queues["tool"].completed == 4

    on_stage(monkeypatch, act)


@pytest.mark.parametrize("frame", ['{"type":"turn","text":"x","id":"%s"}', '{"type":"%s"}'])
def test_what_comes_back_to_a_caller_is_short(monkeypatch: pytest.MonkeyPatch, frame: str) -> None:
    async def act(stage: Stage) -> None:
        stage.caller.frames.put_nowait(frame % ("i" * 100_000))
        await stage.until(lambda: stage.caller.told)

    told = on_stage(monkeypatch, act).caller.told[0]
    assert told["code"] == "invalid_frame"
    assert len(json.dumps(told)) < 1000

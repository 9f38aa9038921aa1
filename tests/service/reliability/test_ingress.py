"""The way in, under an event loop: who waits is told, whatever becomes of it, and what it held is free again."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from service.errors import Conflict, OutcomeUnknown, Unavailable
from service.reliability import verdicts
from service.reliability.admission import QueueCounts
from service.reliability.ingress import Ingress, cost_of, tell_of_queues
from service.reliability.replaying import Replayed
from service.reliability.tracing import Event, Input, NotRecorded, Trace, Traces
from service.reliability.verdicts import NOBODY, Queue
from service.settings import AdmissionSettings, QueueSettings, Settings

ONE = QueueSettings(floor=0, at_once=1)


class Entrance:
    """An ingress with one slot for turns over HTTP and room for two, at a time of its own."""

    def __init__(self) -> None:
        self.now_s = 0.0
        settings = AdmissionSettings(
            budget=2,
            wait_s=5,
            stream=ONE,
            model=ONE,
            tool=msgspec.structs.replace(AdmissionSettings().tool, floor=0),
        )
        self.ingress = Ingress(settings, lambda: self.now_s)
        self.traces: list[Trace] = []

    async def ask(self, until: asyncio.Event | None = None, error: Exception | None = None) -> None:
        """One turn, in flight until told to end."""
        trace = Trace("req", "http")
        self.traces.append(trace)
        async with self.ingress.admitted(Queue.MODEL, 1, trace):
            if until is not None:
                await until.wait()
            if error is not None:
                raise error

    async def waiting(self, count: int, end: asyncio.Event) -> "list[asyncio.Task[None]]":
        """So many turns, the first of which is in flight; all the same event ends."""
        turns = [asyncio.create_task(self.ask(end)) for _ in range(count)]
        await asyncio.sleep(0)
        assert len(self.traces) == count
        return turns

    @property
    def counts(self) -> QueueCounts:
        return self.ingress.snapshot().total

    @property
    def decisions(self) -> list[str]:
        return [each.stages[0].decision for each in self.traces]


def play(act: Callable[[Entrance], Awaitable[None]]) -> Entrance:
    async def run() -> Entrance:
        entrance = Entrance()
        await act(entrance)
        return entrance

    entrance = asyncio.run(run())
    counts = entrance.counts
    assert (counts.queued, counts.in_flight, counts.cost) == (0, 0, 0)
    return entrance


def codes(outcomes: "list[BaseException | None]") -> list[str]:
    return [each.code if isinstance(each, Unavailable) else "" for each in outcomes]


def test_whoever_gives_way_is_told_so_and_everybody_else_is_served() -> None:
    async def act(entrance: Entrance) -> None:
        end = asyncio.Event()
        turns = await entrance.waiting(5, end)
        end.set()
        told = await asyncio.gather(*turns, return_exceptions=True)
        assert codes(told) == ["", "shed", "shed", "", ""]

    entrance = play(act)
    assert entrance.decisions == ["admitted", "shed", "shed", "admitted", "admitted"]
    assert (entrance.counts.completed, entrance.counts.shed) == (3, 2)


def test_what_waits_too_long_is_told_without_anybody_moving() -> None:
    async def act(entrance: Entrance) -> None:
        end = asyncio.Event()
        turns = await entrance.waiting(2, end)
        entrance.now_s = 5.0
        await entrance.ingress.look()
        with pytest.raises(Unavailable) as refused:
            await turns[1]
        assert (refused.value.code, refused.value.retry_after_ms) == ("expired", 1000)
        end.set()
        await turns[0]

    assert play(act).counts.expired == 1


def test_what_can_never_have_room_is_refused() -> None:
    async def act(entrance: Entrance) -> None:
        end = asyncio.Event()
        turns = await entrance.waiting(2, end)
        with pytest.raises(Unavailable) as refused:
            async with entrance.ingress.admitted(Queue.MODEL, 3, Trace("req", "http")):
                pytest.fail("it was let in")
        assert refused.value.code == "overloaded"
        end.set()
        await asyncio.gather(*turns)

    assert play(act).counts.rejected == 1


def test_whoever_leaves_while_it_waits_or_in_its_very_turn_keeps_nothing() -> None:
    async def act(entrance: Entrance) -> None:
        end = asyncio.Event()
        async with entrance.ingress.admitted(Queue.MODEL, 1, Trace("req", "http")):
            turns = await entrance.waiting(2, end)
            turns[0].cancel()
            await asyncio.gather(turns[0], return_exceptions=True)
            assert entrance.counts.abandoned == 1
        # The other was told that it is its turn, and did not go on yet.
        turns[1].cancel()
        await asyncio.gather(turns[1], return_exceptions=True)

    counts = play(act).counts
    assert (counts.completed, counts.failed, counts.abandoned) == (1, 1, 1)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Conflict("no"), "failed"),
        (Unavailable("no"), "failed"),
        (OutcomeUnknown("perhaps"), "unknown"),
        (ZeroDivisionError(), "unknown"),
    ],
)
def test_what_was_begun_is_counted_by_how_it_ended(error: Exception, outcome: str) -> None:
    async def act(entrance: Entrance) -> None:
        with pytest.raises(type(error)):
            await entrance.ask(error=error)

    assert getattr(play(act).counts, outcome) == 1


def replayed(trace: Trace) -> list[tuple[str, str]]:
    """What a replay decides of a trace, as it comes back from a file."""
    (stage,) = trace.stages
    inputs = msgspec.json.decode(msgspec.json.encode(stage.inputs), type=list[Input])
    again = Replayed("req", "http", [("admit", inputs)])

    async def act(entrance: Entrance) -> None:
        with contextlib.suppress(Unavailable, NotRecorded):
            async with entrance.ingress.admitted(Queue.MODEL, 1, again):
                pass

    assert play(act).counts.submitted == 0
    return [(each.name, each.decision) for each in again.stages]


async def everything(entrance: Entrance) -> None:
    """One turn in flight, two that wait, one that gives way, one that could have no room, and one that waits too long."""
    end = asyncio.Event()
    turns = await entrance.waiting(4, end)
    trace = Trace("req", "http")
    entrance.traces.append(trace)
    with pytest.raises(Unavailable):
        async with entrance.ingress.admitted(Queue.MODEL, 3, trace):
            pytest.fail("it was let in")
    end.set()
    await asyncio.gather(*turns, return_exceptions=True)
    end.clear()
    turns = [asyncio.create_task(entrance.ask(end)) for _ in range(2)]
    await asyncio.sleep(0)
    entrance.now_s = 5.0
    await entrance.ingress.look()
    end.set()
    await asyncio.gather(*turns, return_exceptions=True)


ALL = ["admitted", "shed", "admitted", "admitted", "rejected", "admitted", "expired"]


def test_a_replay_decides_again_by_what_decided_and_takes_no_place() -> None:
    entrance = play(everything)
    assert entrance.decisions == ALL
    assert [replayed(each) for each in entrance.traces] == [[("admit", each)] for each in ALL]


@pytest.mark.parametrize(
    ("rule", "other", "otherwise"),
    [
        ("gives_way", lambda _: NOBODY, [("shed", "queued"), ("rejected", "queued")]),
        ("begins_at_once", lambda _: False, [("admitted", "queued"), ("admitted", "queued")]),
        (
            "verdict_of_turn",
            lambda turn: "admitted" if turn.deadline_s <= turn.now_s else "expired",
            [("admitted", "expired"), ("admitted", "expired"), ("expired", "admitted")],
        ),
    ],
)
def test_a_rule_that_was_changed_is_told_by_who_is_admitted(
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    other: Callable[..., object],
    otherwise: list[tuple[str, str]],
) -> None:
    traces = play(everything).traces
    monkeypatch.setattr(verdicts, rule, other)
    both = [(each.stages[0].decision, replayed(each)[0][1]) for each in traces]
    assert [each for each in both if each[0] != each[1]] == otherwise


def test_a_text_costs_by_its_length() -> None:
    assert [cost_of("x" * length) for length in (0, 4095, 4096, 32_768)] == [1, 1, 2, 9]


def test_floors_beyond_the_budget_are_no_settings() -> None:
    with pytest.raises(msgspec.ValidationError, match="floors"):
        msgspec.convert({"admission": {"budget": 191}}, Settings)


def test_queues_in_which_anything_waits_are_told_of() -> None:
    told: list[Event] = []
    traces = Traces()
    traces.on_event(told.append)

    async def act(entrance: Entrance) -> None:
        end = asyncio.Event()
        turns = await entrance.waiting(3, end)
        await tell_of_queues(entrance.ingress, traces)
        end.set()
        await asyncio.gather(*turns)
        await tell_of_queues(entrance.ingress, traces)

    play(act)
    assert [(each.event, each.name, each.detail) for each in told] == [
        ("queue", "model", {"depth": 2, "in_flight": 1})
    ]

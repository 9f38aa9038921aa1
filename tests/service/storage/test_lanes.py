"""Decisions and cancels go before whatever else waits for the writer, and nobody waits for ever."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from service.control import Control, open_control
from service.effects import Effect, system_cause
from service.errors import Unavailable
from service.storage.lanes import AHEAD, Lanes, going_ahead
from service.storage.writer import Operation
from tests.service.gateway.inprocess import inside
from tests.service.running import State

CAUSE = system_cause("test", "act", "req_test")


@pytest.fixture
def control(state: State) -> Iterator[Control]:
    opened = open_control(state.directory)
    yield opened
    opened.close()


def filled(ahead: int, others: int) -> Lanes[str]:
    lanes: Lanes[str] = Lanes()
    for number in range(others):
        lanes.put(f"other {number}", ahead=False)
    for number in range(ahead):
        lanes.put(f"ahead {number}", ahead=True)
    lanes.close()
    return lanes


@pytest.mark.parametrize("most", [1, 2, 64])
def test_who_goes_ahead_is_in_the_next_batch_and_each_lane_keeps_its_order(most: int) -> None:
    lanes = filled(ahead=1, others=200)
    first, *others = lanes.take(most)
    assert first == "ahead 0"
    others += [item for _ in range(200) for item in lanes.take(most)]
    assert others == [f"other {number}" for number in range(200)]
    assert lanes.take(most) == []


@pytest.mark.parametrize("most", [1, 2, 64])
def test_while_both_lanes_are_full_each_has_every_second_batch(most: int) -> None:
    lanes = filled(ahead=most * 4, others=most * 4)
    batches = [lanes.take(most) for _ in range(8)]
    assert [{item[:5] for item in batch} for batch in batches] == [{"ahead"}, {"other"}] * 4
    assert (lanes.waiting(), lanes.take(most)) == (0, [])


def test_whoever_waits_is_told_of_what_comes_and_of_the_end() -> None:
    lanes: Lanes[str] = Lanes()
    taken: list[list[str]] = []

    def take() -> None:
        while batch := lanes.take(9):
            taken.append(batch)

    taking = threading.Thread(target=take)
    taking.start()
    lanes.put("one", ahead=False)
    lanes.close()
    taking.join()
    assert taken == [["one"]]


def test_a_full_queue_of_others_neither_refuses_nor_holds_up_a_decision(control: Control) -> None:
    begun, go_on, ran = threading.Event(), threading.Event(), list[str]()
    storage, most = control.storage, control.settings.storage.queue_max

    def hold(_: object) -> None:
        begun.set()
        go_on.wait()

    async def run() -> None:
        holding = asyncio.ensure_future(storage.do(hold))
        await asyncio.to_thread(begun.wait)
        others = [asyncio.ensure_future(storage.do(lambda _: ran.append("o"))) for _ in range(most)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many"):
            await storage.do(lambda _: None)
        with going_ahead(ahead=True):
            deciding = asyncio.ensure_future(
                storage.change(CAUSE, lambda _: Effect(ran.append("decided"), "t", "1"))
            )
            await asyncio.sleep(0)
        assert storage.waiting == most + 1
        go_on.set()
        await asyncio.gather(holding, deciding, *others)

    asyncio.run(run())
    assert (ran[0], len(ran)) == ("decided", most + 1)


def test_the_lane_of_decisions_is_bounded_too(control: Control) -> None:
    begun, go_on = threading.Event(), threading.Event()
    storage, most = control.storage, control.settings.storage.queue_max

    async def run() -> None:
        holding = asyncio.ensure_future(storage.do(lambda _: begun.set() or go_on.wait()))  # type: ignore[func-returns-value]
        await asyncio.to_thread(begun.wait)
        with going_ahead(ahead=True):
            for _ in range(most):
                storage.note(CAUSE, {})
            with pytest.raises(Unavailable, match="too many"):
                storage.note(CAUSE, {})
        storage.note(CAUSE, {})
        go_on.set()
        await holding

    asyncio.run(run())


def test_all_that_a_decision_or_cancel_writes_goes_ahead_and_nothing_else(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes: list[bool] = []
    submitted = Operation.__init__

    def noted(self: Operation[object], *given: object) -> None:
        submitted(self, *given)  # type: ignore[arg-type]
        lanes.append(self.ahead)

    async def run() -> None:
        async def ask(path: str, body: object = None, **headers: str) -> bool:
            lanes.clear()
            answer = await gateway.post(path, body, **headers)
            assert answer.status in (200, 201, 404)
            assert len(lanes) == (3 if headers else 1)
            assert len(set(lanes)) == 1
            return lanes[0]

        key = {"Idempotency_Key": "k"}
        assert not await ask("/tasks", {"kind": "note"}, **key)
        for path in "/tasks/none/cancel", "/v1/tasks/none/cancel":
            assert await ask(path, **key)
        decision = {"confirmation_id": "none", "decision": "deny"}
        for path in "/approve", "/v1/approve":
            assert await ask(path, decision, **key)
            assert await ask(path, decision)
        assert not await ask("/v1/sessions", {})
        assert not AHEAD.get()

    with inside(state) as gateway:
        monkeypatch.setattr(Operation, "__init__", noted)
        asyncio.run(run())

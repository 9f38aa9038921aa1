"""The outbox: in order, once, side by side, and in no hurry while there is nobody to deliver to."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from service.dependencies import MemoryRefused, MemoryUnavailable
from service.effects import Cause, Origin
from service.errors import Unavailable
from service.messages.memory import StoreMemory
from service.outbox.dispatcher import SIDE_BY_SIDE, Outbox
from service.outbox.records import STORE_MEMORY, NewOwed
from service.settings import OutboxSettings
from tests.service.gateway.inprocess import Inside, inside
from tests.service.running import State, rows

PATIENCE_S = 20.0
SECRET_TEXT = "the key hangs behind the door"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is told by a database
            await asyncio.sleep(0.002)


async def nothing_goes_wrong(_: StoreMemory) -> None:
    pass


class Memory:
    """Has effects once by their key; `before` and `after` it something may go wrong."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.before: Callable[[StoreMemory], Awaitable[None]] = nothing_goes_wrong
        self.after: Callable[[StoreMemory], Awaitable[None]] = nothing_goes_wrong
        self.asked: list[str] = []
        self.had: dict[str, StoreMemory] = {}

    async def wait_until_up(self) -> None:
        await self.up.wait()

    async def store(self, asked: StoreMemory, *, request_id: str) -> None:
        assert request_id == "req_1"
        self.asked.append(str(asked.memory_id))
        await self.before(asked)
        self.had.setdefault(str(asked.memory_id), asked)
        await self.after(asked)


@asynccontextmanager
async def delivering(gateway: Inside, memory: Memory) -> Any:
    settings = OutboxSettings(max_pause_s=0.001)
    outbox = Outbox(gateway.services.storage, gateway.services.clock, memory, settings, lambda: 0.5)
    outbox.timer.start()
    try:
        yield outbox
    finally:
        await outbox.timer.stop()
        await outbox.stop()


async def owe(gateway: Inside, outbox: Outbox, key: str, aggregate: str = "memory") -> None:
    payload = msgspec.json.encode(StoreMemory(SECRET_TEXT, key))
    run = partial(
        outbox.owe,
        new=NewOwed(key, aggregate, STORE_MEMORY, payload),
        origin=Origin("tok_somebody", "req_1", gateway.services.clock.now_ms()),
    )
    cause = Cause("req_1", "tok_somebody", "operator", "memory.add", "/v1/memory", "POST", key)
    await gateway.services.storage.change(cause, run)


def statuses(state: State) -> dict[str, str]:
    return dict(rows(state, "SELECT effect_key, status FROM outbox"))


@pytest.mark.parametrize("seed", range(3))
def test_each_is_had_once_in_the_order_of_its_aggregate(state: State, seed: int) -> None:
    dice = random.Random(seed)
    aggregates = [f"ses_{number}" for number in range(SIDE_BY_SIDE + 3)]
    keys = [(f"{aggregate}_{turn}", aggregate) for turn in range(8) for aggregate in aggregates]

    async def sometimes_lost(_: StoreMemory) -> None:
        await asyncio.sleep(0)
        if dice.random() < 0.3:
            raise MemoryUnavailable("lost")

    async def run() -> Memory:
        memory = Memory()
        memory.before = memory.after = sometimes_lost
        async with delivering(gateway, memory) as outbox:
            for key, aggregate in keys:
                await owe(gateway, outbox, key, aggregate)
            await until(lambda: outbox.pending == 0)
        return memory

    with inside(state) as gateway:
        memory = asyncio.run(run())
    assert len(memory.asked) > len(keys)
    assert {key: "delivered" for key, _ in keys} == statuses(state)
    for aggregate in aggregates:
        mine = [key for key in memory.had if key.startswith(f"{aggregate}_")]
        assert mine == [f"{aggregate}_{turn}" for turn in range(8)]
    seqs = [each.seq for each in memory.had.values()]
    assert len(set(seqs)) == len(keys) and None not in seqs


def test_what_one_aggregate_waits_for_holds_up_no_other(state: State) -> None:
    async def run() -> None:
        memory, held = Memory(), asyncio.Event()

        async def hold(asked: StoreMemory) -> None:
            if str(asked.memory_id).startswith("held"):
                await held.wait()

        memory.before = hold
        async with delivering(gateway, memory) as outbox:
            for number in range(SIDE_BY_SIDE - 1):
                await owe(gateway, outbox, f"held_{number}", f"a{number}")
            for number in range(3):
                await owe(gateway, outbox, f"free_{number}", f"b{number}")
            await until(lambda: outbox.pending == SIDE_BY_SIDE - 1)
            assert set(memory.had) == {"free_0", "free_1", "free_2"}
            held.set()
            await until(lambda: outbox.pending == 0)

    with inside(state) as gateway:
        asyncio.run(run())


def test_one_that_is_refused_is_handed_to_an_operator_and_those_after_it_are_delivered(
    state: State,
) -> None:
    async def refuse(asked: StoreMemory) -> None:
        if asked.memory_id == "bad":
            raise MemoryRefused("memory answered 409")

    async def run() -> None:
        memory = Memory()
        memory.before = refuse
        async with delivering(gateway, memory) as outbox:
            for key in ("good", "bad", "better"):
                await owe(gateway, outbox, key)
            await until(lambda: outbox.pending == 0)
        assert memory.asked == ["good", "bad", "better"]

    with inside(state) as gateway:
        asyncio.run(run())
    assert statuses(state) == {
        "good": "delivered",
        "bad": "needs_operator",
        "better": "delivered",
    }
    said = rows(
        state,
        "SELECT actor_id, outcome, request_id, effect_id, detail ->> '$.status', detail ->> '$.on_behalf_of',"
        " detail ->> '$.reason' FROM audit WHERE action = 'memory.store.end' ORDER BY seq",
    )
    system = ("system:outbox", "system", "req_1")
    assert said == [
        (*system, "good", "delivered", "tok_somebody", None),
        (*system, "bad", "needs_operator", "tok_somebody", "memory answered 409"),
        (*system, "better", "delivered", "tok_somebody", None),
    ]
    assert rows(state, "SELECT count(*) FROM audit WHERE detail LIKE ?", "%behind%") == [(0,)]


def test_while_memory_is_away_nothing_is_asked_and_its_return_is_enough(state: State) -> None:
    async def run() -> None:
        memory = Memory()
        memory.up.clear()
        async with delivering(gateway, memory) as outbox:
            await owe(gateway, outbox, "first")
            await owe(gateway, outbox, "second")
            await outbox.timer.round()
            assert (memory.asked, outbox.pending) == ([], 2)
            memory.up.set()
            await until(lambda: outbox.pending == 0)
            assert memory.asked == ["first", "second"]

    with inside(state) as gateway:
        asyncio.run(run())


def test_a_mark_that_cannot_be_written_has_it_delivered_again(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        memory = Memory()
        storage = gateway.services.storage
        change, failed = storage.change, []

        async def fail_once(cause: Cause, run: Any) -> Any:
            if cause.outcome == "system" and not failed:
                failed.append(cause.target)
                raise Unavailable("the disk is full")
            return await change(cause, run)

        monkeypatch.setattr(storage, "change", fail_once)
        async with delivering(gateway, memory) as outbox:
            await owe(gateway, outbox, "one")
            await owe(gateway, outbox, "two")
            await until(lambda: outbox.pending == 0)
        assert memory.asked == ["one", "one", "two"]

    with inside(state) as gateway:
        asyncio.run(run())


def test_what_was_owed_before_a_start_is_delivered_after_it(state: State) -> None:
    async def leave() -> None:
        memory = Memory()
        memory.before = lambda _: asyncio.Event().wait()  # type: ignore[assignment,return-value]
        async with delivering(gateway, memory) as outbox:
            for key in ("one", "two"):
                await owe(gateway, outbox, key)
            await until(lambda: memory.asked == ["one"])

    async def find() -> None:
        memory = Memory()
        async with delivering(gateway, memory) as outbox:
            await until(lambda: outbox.pending == 0)
        assert memory.asked == ["one", "two"]

    with inside(state) as gateway:
        asyncio.run(leave())
    assert set(statuses(state).values()) == {"pending"}
    with inside(state) as gateway:
        asyncio.run(find())


def test_what_ends_a_delivery_is_counted_and_the_others_go_on(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        memory = Memory()

        async def break_down(asked: StoreMemory) -> None:
            if asked.memory_id == "broken" and memory.asked.count("broken") == 1:
                raise ZeroDivisionError

        memory.before = break_down
        async with delivering(gateway, memory) as outbox:
            await owe(gateway, outbox, "broken", "a")
            await until(lambda: "broken" in memory.asked)
            await owe(gateway, outbox, "other", "b")
            await until(lambda: outbox.pending == 0)
            await until(lambda: outbox.timer.errors == 1)

    with inside(state) as gateway:
        asyncio.run(run())

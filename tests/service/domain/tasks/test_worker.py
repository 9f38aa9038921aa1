"""The worker over a real database, with tools that the test decides about."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import pytest

from service.dependencies import ToolsClient, ToolsUnavailable
from service.dependencies.breaker import BreakerState
from service.dependencies.dependency import Dependency
from service.domain.confirmations import records as confirmations
from service.domain.tasks import claims
from service.domain.tasks import records as tasks
from service.domain.tasks import worker as worker_module
from service.domain.tasks.records import NewTask
from service.domain.tasks.worker import Worker
from service.domain.tools.running import Runner
from service.effects import Effect, Origin, system_cause
from service.errors import Unavailable
from service.ids import random_id
from service.messages.tools import Outcome, ToolOutcome
from service.reliability.tracing import Traces
from tests.service.gateway.inprocess import Inside, inside
from tests.service.running import State

DONE = ToolOutcome("file.read", Outcome.SUCCEEDED)


class Tools:
    """What the worker sees of the tools process; `answer` says what a call comes to."""

    def __init__(self) -> None:
        self.up = True
        self.breaker_state = BreakerState.CLOSED
        self.on_up: Callable[[], None] = lambda: None
        self.calls: list[str] = []
        self.running = 0
        self.most = 0
        self.answer: Callable[[], Awaitable[ToolOutcome]] = self.done

    async def done(self) -> ToolOutcome:
        return DONE

    async def execute(self, name: str, arguments: str, approval: str, **_: str) -> ToolOutcome:
        self.calls.append(arguments)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self.answer()
        finally:
            self.running -= 1


class Bench:
    """A worker that looks only when it is told to, and by itself once `start` was called."""

    def __init__(self, gateway: Inside) -> None:
        self.tools = Tools()
        self.paused = False
        services = gateway.services
        runner = Runner(services.storage, services.clock, cast("ToolsClient", self.tools))
        tools = cast("Dependency", self.tools)
        self.storage = services.storage
        self.clock = services.clock
        self.worker = Worker(
            runner, tools, services.settings, random_id, lambda: self.paused, Traces()
        )

    async def make(self, count: int = 1, kind: str = "file.read") -> list[str]:
        made = []
        payload: dict[str, object] = {"command": "true"} if kind == "shell.run" else {"path": "a"}
        for _ in range(count):
            task_id = random_id("task")
            origin = Origin("tok_asker", random_id("req"), self.clock.now_ms())
            run = partial(
                tasks.create_task, task_id=task_id, new=NewTask(kind, payload), origin=origin
            )
            cause = system_cause("test", "task.create", origin.request_id, task_id)
            await self.storage.change(cause, run)
            made.append(task_id)
        return made

    def status(self, task_id: str) -> str:
        return self.storage.read(lambda connection: tasks.find(connection, task_id).status)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.001)


def on_bench(state: State, work: Callable[[Bench], Awaitable[None]]) -> list[tuple[Any, ...]]:
    """Do `work` in a loop of its own; returns the audit rows about tasks and what belongs to them, oldest first."""
    found = "SELECT action, actor_id, effect_table, detail ->> '$.on_behalf_of' FROM audit WHERE actor_id LIKE 'system:tasks' ORDER BY seq"
    with inside(state) as gateway:
        asyncio.run(cast("Any", work(Bench(gateway))))
        return gateway.services.storage.read(
            lambda connection: list(connection.execute(found).fetchall())
        )


def test_a_task_is_run_once_and_each_step_says_on_whose_behalf(state: State) -> None:
    async def work(bench: Bench) -> None:
        (task_id,) = await bench.make()
        bench.worker.timer.start()
        await bench.until(lambda: bench.status(task_id) == "completed")
        await bench.worker.stop()
        await bench.worker.timer.stop()
        assert len(bench.tools.calls) == 1

    assert on_bench(state, work) == [
        ("task.claim", "system:tasks", "tasks", "tok_asker"),
        ("task.begin", "system:tasks", "tool_runs", "tok_asker"),
        ("tool.end", "system:tasks", "tool_runs", "tok_asker"),
        ("tool.end", "system:tasks", "tasks", "tok_asker"),
    ]


def test_no_more_run_at_once_than_are_allowed_and_all_run_once(state: State) -> None:
    async def work(bench: Bench) -> None:
        go = asyncio.Event()

        async def wait() -> ToolOutcome:
            await go.wait()
            return DONE

        bench.tools.answer = wait
        made = await bench.make(10)
        bench.worker.timer.start()
        await bench.until(lambda: bench.tools.running == 4)
        await bench.worker.look()
        assert len(bench.tools.calls) == 4
        go.set()
        await bench.until(lambda: all(bench.status(each) == "completed" for each in made))
        assert (bench.tools.most, len(bench.tools.calls)) == (4, 10)
        await bench.worker.stop()
        await bench.worker.timer.stop()

    on_bench(state, work)


def test_nothing_is_claimed_while_the_tools_are_away_and_their_return_wakes(state: State) -> None:
    async def work(bench: Bench) -> None:
        bench.tools.up = False
        (task_id,) = await bench.make()
        await bench.worker.look()
        assert bench.status(task_id) == "queued"
        bench.worker.timer._every_s = 3600.0
        bench.worker.timer.start()
        await asyncio.sleep(0)
        bench.tools.up = True
        bench.tools.on_up()
        await bench.until(lambda: bench.status(task_id) == "completed")
        await bench.worker.timer.stop()

    on_bench(state, work)


def test_nothing_is_claimed_while_it_is_paused(state: State) -> None:
    async def work(bench: Bench) -> None:
        (task_id,) = await bench.make()
        for bench.paused, status in ((True, "queued"), (False, "completed")):
            await bench.worker.look()
            await asyncio.gather(*bench.worker._jobs.values())
            assert bench.status(task_id) == status

    on_bench(state, work)


def test_what_certainly_did_not_run_is_queued_for_later(state: State) -> None:
    async def work(bench: Bench) -> None:
        async def away() -> ToolOutcome:
            raise ToolsUnavailable("away")

        bench.tools.answer = away
        (task_id,) = await bench.make()
        await bench.worker.look()
        await bench.worker.stop()
        assert bench.status(task_id) == "queued"
        (later_ms,) = bench.storage.read(
            lambda db: [
                row[0] for row in db.execute("SELECT not_before_ms - created_at_ms FROM tasks")
            ]
        )
        assert isinstance(later_ms, int) and later_ms >= tasks.FIRST_RETRY_MS

    on_bench(state, work)


def test_what_runs_too_long_for_the_end_is_recorded_as_unknown(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "STOP_WITHIN_S", 0.01)

    async def work(bench: Bench) -> None:
        async def never() -> ToolOutcome:
            await asyncio.Event().wait()
            return DONE

        bench.tools.answer = never
        (task_id,) = await bench.make()
        await bench.worker.look()
        await bench.until(lambda: bench.tools.running == 1)
        await bench.worker.stop()
        await bench.storage.catch_up()
        assert bench.status(task_id) == "needs_operator"

    on_bench(state, work)


@pytest.mark.parametrize(("error", "attempts"), [(ZeroDivisionError(), 1), (Unavailable("no"), 0)])
def test_a_claim_that_cannot_go_on_is_given_back(
    state: State, monkeypatch: pytest.MonkeyPatch, error: Exception, attempts: int
) -> None:
    def fail(*_: object, **__: object) -> Effect[None]:
        raise error

    monkeypatch.setattr(claims, "_begin", fail)

    async def work(bench: Bench) -> None:
        (task_id,) = await bench.make()
        await bench.worker.look()
        await bench.until(lambda: bench.worker.timer.errors == 1)
        await bench.storage.catch_up()
        found = bench.storage.read(lambda db: tasks.find(db, task_id))
        assert (found.status, found.attempts) == ("queued", attempts)
        assert bench.tools.calls == []

    on_bench(state, work)


def test_a_question_that_nobody_answers_ends_its_task(state: State) -> None:
    async def work(bench: Bench) -> None:
        (task_id,) = await bench.make(kind="shell.run")
        await bench.worker.look()
        pending = "SELECT id FROM confirmations WHERE status = 'pending'"
        read = bench.storage.read
        await bench.until(lambda: bool(read(lambda db: db.execute(pending).fetchall())))
        await bench.worker.look()
        assert bench.status(task_id) == "queued"
        bench.clock.raise_to(bench.clock.now_ms() + 300_000)
        await bench.worker.look()
        assert bench.status(task_id) == "cancelled"
        assert read(lambda db: confirmations.overdue(db, bench.clock.now_ms())) == []

    on_bench(state, work)

"""One process under supervision, on a clock that does not wait, with lives that end as they are told."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import apsw
import pytest

from service.effects import Cause, Effect, system_cause
from service.errors import Conflict, Unavailable
from service.processes import Process
from service.settings import SupervisorSettings
from service.storage.migrations import migrate
from service.supervisor.budget import Budget
from service.supervisor.health import Answered
from service.supervisor.records import (
    begin_boot,
    end_boot,
    restore_budgets,
    restore_maintenance,
)
from service.supervisor.status import ServiceState, ServiceStatus
from service.supervisor.supervised import Means, Supervised, Why
from tests.service.supervisor.virtual import run

T = TypeVar("T")
MEMORY = Process("memory", 7020, "")
ASKED = system_cause("test", "asked", "req_asked")


class FakeBook:
    """Writes down into a database in memory; refuses while `refuses` is set."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        migrate(self.connection, 0)
        begin_boot(self.connection, "boot_1", 0)
        self.actions: list[str] = []
        self.refuses = False

    async def change(self, cause: Cause, change: Callable[[apsw.Connection], Effect[T]]) -> T:
        if self.refuses:
            raise Unavailable("locked")
        self.actions.append(cause.action)
        return change(self.connection).result

    def attempts(self) -> list[str]:
        found = self.connection.execute("SELECT cause FROM restart_attempts ORDER BY seq")
        return [str(cause) for (cause,) in found]


class FakeLife:
    """Lives until `die`; `stuck` is what no signal ends."""

    def __init__(self, pid: int, changed: Callable[[], None]) -> None:
        self.pid = pid
        self.exit: int | None = None
        self.graces: list[float] = []
        self.stuck = asyncio.Event()
        self.stuck.set()
        self._changed = changed

    def die(self, code: int = 1) -> None:
        self.exit = code
        self._changed()

    async def end(self, grace_s: float) -> None:
        self.graces.append(grace_s)
        await self.stuck.wait()
        if self.exit is None:
            self.exit = -9


class World:
    """A supervised process; `answers` is what comes of asking it. What is spawned is kept with the time and the attempts by then."""

    def __init__(self, **settings: float) -> None:
        self.book = FakeBook()
        self.lives: list[FakeLife] = []
        self.spawned: list[tuple[float, int]] = []
        self.answers = Answered.YES
        self.fails_to_spawn = False
        self.vacant = True
        self.over_s = 0.0
        numbers = itertools.count()
        self.means = Means(
            self.book,
            SupervisorSettings(**settings),  # type: ignore[arg-type]
            self.now_ms,
            lambda prefix: f"{prefix}_{next(numbers)}",
            "boot_1",
            self._spawn,
            lambda _process, within_s: FakeHealth(self, within_s),
            lambda _process: self.vacant,
        )
        self.supervised = self.anew()

    def anew(self) -> Supervised:
        """As another boot finds it."""
        (budget,) = restore_budgets(self.book.connection) or [Budget("memory")]
        left_alone = restore_maintenance(self.book.connection)
        self.supervised = Supervised(MEMORY, self.means, budget, "memory" in left_alone)
        return self.supervised

    def _spawn(self, _process: Process, changed: Callable[[], None]) -> FakeLife:
        assert all(life.exit is not None for life in self.lives), "the one before lives"
        at_s = asyncio.get_running_loop().time()
        self.spawned.append((round(at_s, 2), len(self.book.attempts())))
        if self.fails_to_spawn:
            raise OSError("no more processes")
        self.lives.append(FakeLife(len(self.lives) + 1, changed))
        return self.lives[-1]

    def now_ms(self) -> int:
        """Milliseconds since the epoch; boots follow each other at once."""
        return 1_000_000_000_000 + int((self.over_s + asyncio.get_running_loop().time()) * 1000)

    @property
    def state(self) -> ServiceState:
        return self.supervised.status().state

    def during(
        self, story: Callable[["World"], Coroutine[Any, Any, None]], why: Why | None = None
    ) -> None:
        """Supervise while `story` goes on."""

        async def both() -> None:
            living = asyncio.create_task(self.supervised.live(why))
            await story(self)
            assert not living.done()
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
            await self.supervised.end()
            self.over_s += asyncio.get_running_loop().time()

        run(both())


class FakeHealth:
    """Takes all of its time where nobody answers."""

    def __init__(self, world: World, within_s: float) -> None:
        self._world = world
        self._within_s = within_s

    async def ask(self, _path: str) -> Answered:
        if self._world.answers is not Answered.YES:
            await asyncio.sleep(self._within_s)
        return self._world.answers

    async def close(self) -> None:
        return


async def dies_at_once(world: World) -> None:
    """Each life is ready, and over a second later."""
    for count in range(1, 5):
        while len(world.lives) < count or world.state is not ServiceState.READY:  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        world.lives[-1].die()
    await asyncio.sleep(100)


def test_each_restart_is_written_down_before_its_spawn_and_the_fourth_waits_for_the_window() -> (
    None
):
    world = World()

    async def story(world: World) -> None:
        await dies_at_once(world)
        assert world.state is ServiceState.UNREACHABLE
        assert world.supervised.status().exhausted
        assert world.supervised.status().pid is None
        assert len(world.spawned) == 4
        await asyncio.sleep(300)
        assert world.state is ServiceState.READY

    world.during(story)
    assert [count for _, count in world.spawned] == [0, 1, 2, 3, 4]
    at_s = [at for at, _ in world.spawned]
    gaps = [after - before for before, after in itertools.pairwise(at_s)]
    assert all(gap >= least for gap, least in zip(gaps, [3, 5, 9, 0], strict=True))
    assert at_s[4] - at_s[1] >= 300
    assert world.book.actions == [
        *["supervisor.failed", "supervisor.restart"] * 3,
        "supervisor.exhausted",
        "supervisor.restart",
    ]
    assert world.book.attempts() == ["exit"] * 4


def test_nothing_is_spawned_that_cannot_be_written_down() -> None:
    world = World()

    async def story(world: World) -> None:
        await asyncio.sleep(1)
        world.book.refuses = True
        world.lives[0].die()
        await asyncio.sleep(60)
        assert len(world.spawned) == 1
        with pytest.raises(Unavailable):
            await world.supervised.restart(ASKED)
        await asyncio.sleep(1)
        assert len(world.spawned) == 1
        world.book.refuses = False
        await asyncio.sleep(1)
        assert world.state is ServiceState.READY

    world.during(story)
    assert [count for _, count in world.spawned] == [0, 1]


def test_what_hangs_is_gone_before_another_is_spawned() -> None:
    world = World()

    async def story(world: World) -> None:
        await asyncio.sleep(1)
        world.lives[0].stuck.clear()
        world.answers = Answered.NO
        await asyncio.sleep(100)
        assert world.lives[0].graces == [0]
        assert len(world.spawned) == 1
        world.answers = Answered.YES
        world.lives[0].stuck.set()
        await asyncio.sleep(5)
        assert world.state is ServiceState.READY

    world.during(story)
    assert world.book.attempts() == ["hang"]


def test_who_is_late_itself_says_of_nobody_that_it_hangs() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(1)
        world.answers = Answered.UNKNOWN
        await asyncio.sleep(600)
        assert len(world.spawned) == 1

    World().during(story)


def test_what_is_not_ready_in_time_is_replaced() -> None:
    world = World(start_within_s=7, hang_after_s=3)
    world.answers = Answered.NO

    async def story(world: World) -> None:
        await asyncio.sleep(6)
        assert (len(world.spawned), world.state) == (1, ServiceState.STARTING)
        await asyncio.sleep(8)
        assert len(world.spawned) == 2

    world.during(story)
    assert world.book.attempts() == ["hang"]


def test_it_is_not_spawned_while_another_has_its_port_for_as_long_as_a_child_may_take_to_end() -> (
    None
):
    async def story(world: World) -> None:
        world.vacant = False
        await asyncio.sleep(10)
        assert world.spawned == []
        world.vacant = True
        await asyncio.sleep(1)
        assert len(world.spawned) == 1
        world.vacant = False
        world.lives[0].die()
        await asyncio.sleep(60)
        assert len(world.spawned) == 2

    World().during(story, Why.UNCLEAN_END)


def test_what_cannot_be_spawned_has_failed() -> None:
    world = World()
    world.fails_to_spawn = True

    async def story(world: World) -> None:
        await asyncio.sleep(60)
        assert world.state is ServiceState.UNREACHABLE

    world.during(story)
    assert len(world.spawned) == 4


def test_an_operator_restarts_at_once_within_the_budget() -> None:
    world = World()

    async def story(world: World) -> None:
        await asyncio.sleep(1)
        for count in range(1, 4):
            status = await world.supervised.restart(ASKED)
            assert (status.state, status.attempt_count) == (ServiceState.STARTING, count)
            with pytest.raises(Conflict, match="being restarted"):
                await world.supervised.restart(ASKED)
            await asyncio.sleep(1.5)
            assert world.lives[-2].graces == [world.means.settings.stop_within_s]
            assert (world.state, len(world.lives)) == (ServiceState.READY, count + 1)
        with pytest.raises(Conflict, match="used up"):
            await world.supervised.restart(ASKED)
        assert world.state is ServiceState.READY
        await world.supervised.reset(ASKED)
        await world.supervised.restart(ASKED)
        await asyncio.sleep(1.5)

    world.during(story)
    assert [count for _, count in world.spawned] == [0, 1, 2, 3, 4]
    assert world.book.attempts() == ["operator"] * 4


def test_a_reset_ends_waiting() -> None:
    world = World()

    async def story(world: World) -> None:
        await dies_at_once(world)
        await world.supervised.reset(ASKED)
        await asyncio.sleep(0.1)
        assert world.state is ServiceState.READY
        assert world.supervised.status().attempt_count == 1

    world.during(story)


def test_what_is_in_maintenance_is_left_alone() -> None:
    world = World()

    async def story(world: World) -> None:
        await asyncio.sleep(1)
        await world.supervised.maintain(True, ASKED)
        world.answers = Answered.NO
        await asyncio.sleep(100)
        assert (world.state, world.lives[0].exit) == (ServiceState.MAINTENANCE, None)
        with pytest.raises(Conflict, match="maintenance"):
            await world.supervised.restart(ASKED)
        world.lives[0].die()
        await asyncio.sleep(100)
        assert len(world.spawned) == 1
        world.answers = Answered.YES
        await world.supervised.maintain(False, ASKED)
        await asyncio.sleep(0.1)
        assert world.state is ServiceState.READY

    world.during(story)
    assert world.book.attempts() == ["maintenance"]


@pytest.mark.parametrize("why", [None, Why.UNCLEAN_END, Why.EARLIER])
def test_what_was_given_up_stays_so_over_boots(why: Why | None) -> None:
    world = World()
    kept: list[ServiceStatus] = []

    async def given_up(world: World) -> None:
        await dies_at_once(world)
        kept.append(world.supervised.status())

    async def story(world: World) -> None:
        await asyncio.sleep(100)
        assert [world.supervised.status()] == kept
        assert len(world.spawned) == 4

    world.during(given_up)
    world.anew()

    world.during(story, why)


def test_after_an_unclean_end_each_spawn_is_an_attempt_and_the_budget_ends_that_too() -> None:
    world = World()

    async def story(world: World) -> None:
        await asyncio.sleep(20)

    for _ in range(5):
        world.during(story, Why.UNCLEAN_END)
        world.anew()
    assert [count for _, count in world.spawned] == [1, 2, 3]
    assert world.book.actions[-1] == "supervisor.exhausted"


def test_a_clean_boot_spawns_without_an_attempt_and_waits_for_no_window() -> None:
    world = World()

    async def restarts(world: World) -> None:
        await asyncio.sleep(1)
        for _ in range(3):
            await world.supervised.restart(ASKED)
            await asyncio.sleep(1.5)

    async def story(world: World) -> None:
        await asyncio.sleep(30)
        assert world.state is ServiceState.READY

    world.during(restarts)
    world.anew()
    world.during(story)
    assert world.book.attempts() == ["operator"] * 3
    assert len(world.spawned) == 5


def test_a_boot_knows_how_the_one_before_it_ended() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, 0)
    assert begin_boot(connection, "first", 1)
    assert not begin_boot(connection, "second", 2)
    end_boot(connection, "second", 3)
    assert begin_boot(connection, "third", 4)

"""A dependency over real sockets: what failing, hanging and coming back do to its callers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.dependencies.breaker import Breaker, BreakerLimits, BreakerState
from service.dependencies.dependency import CallNotSent, Dependency
from service.dependencies.errors import DependencyUnavailable
from service.http.client import HttpClient, HttpLimits, HttpRequest
from tests.service.scripted_server import scripted_server

SILENT_S = 0.15
"""How long a silent server is waited for. One that answers may take as long as `PATIENCE_S`."""
PATIENCE_S = 20.0


@asynccontextmanager
async def dependency_of(
    url: str, open_for_s: float = 0.05, probe_every_s: float = 0.05
) -> AsyncIterator[Dependency]:
    limits = BreakerLimits(failures=3, open_for_s=open_for_s, max_open_for_s=max(open_for_s, 0.1))
    dependency = Dependency(
        "memory",
        HttpClient(url, {}, HttpLimits(connect_s=PATIENCE_S)),
        Breaker(limits, time.monotonic, lambda: 0.5),
        probe_within_s=SILENT_S,
        probe_every_s=probe_every_s,
        jitter=lambda: 0.5,
    )
    try:
        yield dependency
    finally:
        await dependency.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - a breaker offers no event to wait for
            await asyncio.sleep(0.005)


def ask(within_s: float = PATIENCE_S) -> HttpRequest:
    return HttpRequest("POST", "/internal/memories/search", within_s, b"{}")


async def outcomes(dependency: Dependency, calls: int, within_s: float = PATIENCE_S) -> list[str]:
    """The kinds of outcome of calls that overlap."""
    found = await asyncio.gather(
        *(dependency.call(ask(within_s)) for _ in range(calls)), return_exceptions=True
    )
    return [type(each).__name__ for each in found]


def test_it_is_down_until_it_answered_for_the_first_time() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), dependency_of(server.url) as dependency:
            server.script = scripts.answering()
            assert not dependency.up
            dependency.start_probing()
            await until(lambda: dependency.up)

    asyncio.run(main())


def test_one_that_is_still_starting_is_reached_as_soon_as_it_is_there() -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            dependency_of(server.url, open_for_s=60.0) as dependency,
        ):
            server.script = scripts.answering()
            port = server.port
            await server.stop()
            for _ in range(10):
                assert not await dependency.probe()
            assert not dependency.up
            await server.start(port)
            assert await outcomes(dependency, 5) == ["HttpAnswer"] * 5
            assert dependency.up

    asyncio.run(main())


def test_one_that_never_comes_is_not_asked_for_ever() -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            dependency_of(server.url, open_for_s=60.0) as dependency,
        ):
            server.script = scripts.silent()
            assert not await dependency.probe()
            await outcomes(dependency, 3, SILENT_S)
            reached = server.connections
            assert set(await outcomes(dependency, 20)) == {"CallNotSent"}
            assert server.connections == reached

    asyncio.run(main())


def test_a_cut_link_trips_it_and_its_return_needs_no_traffic() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), dependency_of(server.url) as dependency:
            server.script = scripts.answering()
            dependency.start_probing()
            await until(lambda: dependency.up)
            port = server.port
            await server.stop()
            assert set(await outcomes(dependency, 10)) == {"CallNotSent"}
            assert not dependency.up
            await server.start(port)
            await until(lambda: dependency.up)
            assert await outcomes(dependency, 10) == ["HttpAnswer"] * 10

    asyncio.run(main())


def test_once_it_has_tripped_no_probe_waits_for_its_turn() -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            dependency_of(server.url, probe_every_s=60.0) as dependency,
        ):
            server.script = scripts.answering()
            dependency.start_probing()
            await until(lambda: dependency.up)
            port = server.port
            await server.stop()
            await outcomes(dependency, 3)
            assert not dependency.up
            await server.start(port)
            await until(lambda: dependency.up)

    asyncio.run(main())


def test_a_black_hole_costs_each_caller_its_time_out_and_later_callers_nothing() -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            dependency_of(server.url, open_for_s=60.0) as dependency,
        ):
            server.script = scripts.answering()
            await dependency.call(ask())
            server.hang_up()
            server.script = scripts.silent()
            assert set(await outcomes(dependency, 10, SILENT_S)) == {"DependencyUnavailable"}
            assert dependency.breaker_state is BreakerState.OPEN
            reached = server.connections
            assert set(await outcomes(dependency, 50)) == {"CallNotSent"}
            assert server.connections == reached

    asyncio.run(main())


def test_a_black_hole_that_ends_is_noticed_by_the_probe() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), dependency_of(server.url) as dependency:
            server.script = scripts.answering()
            dependency.start_probing()
            await until(lambda: dependency.up)
            server.hang_up()
            server.script = scripts.silent()
            await until(lambda: not dependency.up)
            server.script = scripts.answering()
            server.hang_up()
            await until(lambda: dependency.up)
            assert await outcomes(dependency, 20) == ["HttpAnswer"] * 20

    asyncio.run(main())


def test_server_errors_trip_it_and_client_errors_do_not() -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            dependency_of(server.url, open_for_s=60.0) as dependency,
        ):
            server.script = scripts.answering(status=404)
            assert await outcomes(dependency, 10) == ["HttpAnswer"] * 10
            server.hang_up()
            server.script = scripts.answering(status=500)
            for _ in range(3):
                with pytest.raises(DependencyUnavailable):
                    await dependency.call(ask())
            assert dependency.breaker_state is BreakerState.OPEN
            with pytest.raises(CallNotSent):
                await dependency.call(ask())

    asyncio.run(main())


def test_a_probe_that_is_not_let_in_does_not_count_as_up() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), dependency_of(server.url) as dependency:
            server.script = scripts.answering(status=401)
            assert not await dependency.probe()
            assert not dependency.up

    asyncio.run(main())


def test_half_open_lets_one_probe_out() -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            dependency_of(server.url, open_for_s=0.001) as dependency,
        ):
            server.script = scripts.silent()
            await outcomes(dependency, 5, SILENT_S)
            assert dependency.breaker_state is BreakerState.OPEN
            await asyncio.sleep(dependency.retry_in_s())
            before = server.connections
            probes = await asyncio.gather(*(dependency.probe() for _ in range(20)))
            assert not any(probes)
            assert server.connections - before == 1

    asyncio.run(main())

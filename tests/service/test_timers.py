"""Timers: an error ends a round and no timer, and one that does nothing any more shows."""

import asyncio
import logging

import pytest

from service.clock import MarkFile
from service.timers import LATE_ROUNDS, Timer, Timers
from tests.service.gateway.inprocess import ask, inside
from tests.service.running import State


def test_an_error_is_counted_said_once_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    rounds = 0
    over = asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds in {2, 3}:
            raise OSError("no space")
        if rounds == 5:
            over.set()

    async def run() -> Timer:
        timer = Timer("clock", 0.001, work)
        timer.start()
        await over.wait()
        await timer.stop()
        return timer

    with caplog.at_level(logging.WARNING, "sonia.timers"):
        timer = asyncio.run(run())
    assert timer.errors == 2
    assert [record.message.split(",")[0] for record in caplog.records] == [
        "clock failed",
        "clock works again",
    ]


@pytest.mark.parametrize("every_s", [0.1, 1])
def test_a_timer_that_hangs_or_is_gone_is_late(every_s: float) -> None:
    now = [0.0]

    async def fail() -> None:
        raise OSError

    async def work() -> None:
        pass

    async def run() -> None:
        good, bad = (Timer(each.__name__, every_s, each, lambda: now[0]) for each in (work, fail))
        timers = Timers((good, bad))
        now[0] = LATE_ROUNDS
        assert timers.late == 0
        await good.round()
        await bad.round()
        now[0] += 1
        assert (timers.late, timers.errors) == (1, 1)
        now[0] += LATE_ROUNDS
        assert timers.late == 2
        await good.round()
        assert timers.late == 1

    asyncio.run(run())


def test_the_gateways_timers_do_not_wait_for_each_other(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark that cannot be written keeps no revoked token alive, and shows to whoever asks."""

    async def run() -> None:
        loop, failed = asyncio.get_running_loop(), asyncio.Event()

        def fail(_: MarkFile) -> None:
            loop.call_soon_threadsafe(failed.set)
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(MarkFile, "sync", fail)
            patched.setattr("service.timers.LATE_ROUNDS", 0)
            patched.setattr("service.timers.LATE_AT_LEAST_S", 0)
            gateway.services.timers.start()
            await failed.wait()
            # One more turn of the loop's thread pool: the round that failed has ended by then.
            await asyncio.to_thread(int)
            metrics = await ask(gateway.app, "GET", "/metrics", {}, b"")
            ready = await ask(gateway.app, "GET", "/readyz", {}, b"")
            await gateway.services.timers.stop()
        assert "sonia_timer_errors_total 1" in metrics.body.decode()
        assert "sonia_timers_late 0" not in metrics.body.decode()
        assert (ready.status, ready.json["status"]) == (200, "impaired")

    with inside(state) as gateway:
        asyncio.run(run())

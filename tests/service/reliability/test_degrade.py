"""Degrade mode inside of the gateway: what it switches off, who hears of it, and what outlives what."""

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine, Iterator

import msgspec
import pytest

from service.reliability.modes import KeptMode, read_mode
from service.reliability.slo import Mode
from service.reliability.tracing import Trace
from service.settings import Part
from tests.service.gateway.inprocess import Inside, ask, inside
from tests.service.running import State, rows

YAML = "slo: {threshold_ms: 50000, min_count: 5, long_min_count: 5, min_dwell_s: 0, sustain_s: 0}\n"


def played(test: Callable[..., Coroutine[object, object, None]]) -> Callable[..., None]:
    """Run a test inside an event loop; what it has opened to other processes is closed in it, too."""

    @functools.wraps(test)
    def run(**given: object) -> None:
        async def play() -> None:
            await test(**given)
            if isinstance(within := given.get("within"), Inside):
                await within.services.dependencies.close()

        asyncio.run(play())

    return run


@pytest.fixture
def within(state: State) -> Iterator[Inside]:
    state.directory.settings.write_text(YAML)
    with inside(state) as found:
        yield found


async def enter(within: Inside) -> None:
    for _ in range(5):
        refused = Trace("req_1", "http", "POST", "/v1/turn")
        refused.status = 503
        within.services.slo.finished(refused)
    await within.services.slo.look()
    assert within.services.slo.degraded
    await within.services.slo.stop()


@played
async def test_it_is_told_everywhere(within: Inside) -> None:
    before = await within.post("/v1/sessions", {})
    assert "x-sonia-mode" not in before.headers
    await enter(within)
    for answer in (await within.post("/v1/sessions", {}), await within.post("/nowhere")):
        assert answer.headers["x-sonia-mode"] == "degraded"
    status = await ask(within.app, "GET", "/v1/slo/status", {}, b"")
    assert (status.json["mode"], status.json["transitions"]) == ("degraded", 1)
    assert status.json["switched_off"] == ["memory", "model", "tasks"]
    metrics = await ask(within.app, "GET", "/metrics", {}, b"")
    assert b"\nsonia_slo_degraded 1\n" in metrics.body
    assert b"\nsonia_slo_transitions_total 1\n" in metrics.body
    turn = (await within.post("/v1/turn", {"text": "hello"})).json
    assert turn["degraded_reasons"] == ["memory_switched_off", "model_switched_off"]
    assert turn["degraded"]
    logged = rows(
        within.state, "SELECT actor_id, action, outcome FROM audit WHERE effect_table = 'slo_modes'"
    )
    assert logged == [("system:slo", "slo.enter", "system")]


@played
async def test_it_outlives_a_restart_and_leaves_by_canaries(state: State) -> None:
    state.directory.settings.write_text(YAML)
    with inside(state) as before:
        await enter(before)
    with inside(state) as after:
        slo, storage = after.services.slo, after.services.storage
        assert slo.degraded
        heard: list[Mode] = []
        slo.on_change.append(heard.append)
        answers = [False, True, True, True]

        async def send(_: str) -> bool:
            return answers.pop(0)

        slo.send_canary = send
        while answers:
            await slo._ask()
            assert slo.degraded
        await slo.look()
        assert (slo.degraded, heard) == (False, [Mode.NORMAL])
        kept = storage.read(read_mode)
        assert (kept.mode, kept.transitions) == (Mode.NORMAL, 2)
        turns, canaries = storage.read(
            lambda connection: connection.execute(
                "SELECT (SELECT count(*) FROM turns), canaries FROM slo_modes"
            ).fetchall()
        )[0]
        # The row is written anew as it is left.
        assert (turns, canaries) == (0, 0)


@played
async def test_a_canary_takes_the_whole_path(within: Inside) -> None:
    """There is no other process here, so it cannot: that is no recovery, however quick it was."""
    await enter(within)
    for _ in range(5):
        await within.services.slo._ask()
    await within.services.slo.look()
    await within.services.slo.stop()
    assert within.services.slo.degraded
    counted = rows(within.state, "SELECT canaries FROM slo_modes")
    assert counted == [(5,)]


@pytest.mark.parametrize("off", [(), (Part.MODEL,), (Part.MEMORY, Part.TASKS)])
@played
async def test_what_is_switched_off_is_a_list(within: Inside, off: tuple[Part, ...]) -> None:
    await enter(within)
    slo = within.services.slo
    slo._objective.take_limits(msgspec.structs.replace(slo._objective.limits, switches_off=off))
    reasons = (await within.post("/v1/turn", {"text": "hello"})).json["degraded_reasons"]
    assert reasons == [
        f"{part}_{'switched_off' if part in off else 'unavailable'}"
        for part in (Part.MEMORY, Part.MODEL)
    ]
    assert within.services.worker._paused() is (Part.TASKS in off)


@played
async def test_what_a_caller_does_wrong_is_no_turn(within: Inside) -> None:
    for body in ({"text": "x", "session_id": "ses_none"}, {"text": ""}):
        assert (await within.post("/v1/turn", body)).status in (400, 404)
    assert within.services.slo.status().long.count == 0
    assert (await within.post("/v1/turn", {"text": "x"})).status == 200
    assert within.services.slo.status().long.count == 1


@played
async def test_limits_are_taken_up_from_the_file(within: Inside) -> None:
    slo, path = within.services.slo, within.state.directory.settings
    await slo.look()

    async def written(text: str, at: int) -> tuple[float, str]:
        path.write_text(text)
        os.utime(path, (at, at))
        await slo.look()
        status = slo.status()
        return status.threshold_ms, status.settings

    assert await written(YAML.replace("50000", "60"), 1) == (60, "current")
    assert await written(YAML.replace("50000", "-7"), 2) == (60, "broken")
    assert await written("slo: [", 3) == (60, "broken")
    assert await written(YAML.replace("50000", "70"), 4) == (70, "current")
    path.unlink()
    await slo.look()
    assert (slo.status().threshold_ms, slo.status().settings) == (70, "broken")
    await within.services.storage.do(lambda _: None)
    noted = rows(
        within.state,
        "SELECT actor_id, detail ->> '$.threshold_ms' FROM audit WHERE action = 'slo.limits' ORDER BY seq",
    )
    assert noted == [("system:slo", 60.0), ("system:slo", 70.0)]


def test_without_a_row_it_is_the_first_mode(within: Inside) -> None:
    assert within.services.storage.read(read_mode) == KeptMode()

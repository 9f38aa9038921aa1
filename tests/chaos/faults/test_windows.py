"""Every fault on a real link: proven while it is on, clean afterwards, and truthful when it is neither."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from chaos.faults import FAULTS, SIGNATURES
from chaos.faults.bandwidth import Bandwidth
from chaos.faults.base import ByteRate, FaultStep
from chaos.faults.cut import Cut
from chaos.faults.latency import Latency
from chaos.faults.limit_data import LimitData
from chaos.faults.reset_peer import ResetPeer
from chaos.faults.slicer import Slicer
from chaos.faults.slow_close import SlowClose
from chaos.faults.timeout import Timeout
from chaos.spec.units import Duration, Size
from tests.builders.link_rig import LINK, Kept, freeze, get, is_stuck, rig, run, until

STEPS: dict[str, tuple[FaultStep, str, bytes]] = {
    "cut": (Cut(cut=LINK), "/20", b""),
    "latency": (Latency(latency=LINK, delay=Duration("150ms")), "/20", b""),
    "latency with jitter": (
        Latency(latency=LINK, delay=Duration("100ms"), jitter=Duration("50ms")),
        "/20",
        b"",
    ),
    "latency upstream": (
        Latency(latency=LINK, delay=Duration("150ms"), direction="upstream"),
        "/20",
        b"",
    ),
    "bandwidth": (Bandwidth(bandwidth=LINK, rate=ByteRate("10KB/s")), "/8000", b""),
    "bandwidth of a long answer": (
        Bandwidth(bandwidth=LINK, rate=ByteRate("400KB/s")),
        "/chunked/400000",
        b"",
    ),
    "bandwidth upstream": (
        Bandwidth(bandwidth=LINK, rate=ByteRate("10KB/s"), direction="upstream"),
        "/2",
        b"y" * 8000,
    ),
    "slow_close": (SlowClose(slow_close=LINK, delay=Duration("150ms")), "/20", b""),
    "timeout": (Timeout(timeout=LINK, after=Duration("200ms")), "/20", b""),
    "timeout without end": (Timeout(timeout=LINK), "/20", b""),
    "timeout upstream": (
        Timeout(timeout=LINK, after=Duration("200ms"), direction="upstream"),
        "/20",
        b"",
    ),
    "reset_peer": (ResetPeer(reset_peer=LINK), "/20", b""),
    "reset_peer after": (ResetPeer(reset_peer=LINK, after=Duration("100ms")), "/20", b""),
    "reset_peer upstream": (ResetPeer(reset_peer=LINK, direction="upstream"), "/20", b""),
    "slicer": (
        Slicer(slicer=LINK, size=Size("100B"), variation=Size("20B"), delay=Duration("10ms")),
        "/3000",
        b"",
    ),
    "slicer upstream": (
        Slicer(slicer=LINK, size=Size("100B"), delay=Duration("10ms"), direction="upstream"),
        "/2",
        b"y" * 3000,
    ),
    "limit_data": (LimitData(limit_data=LINK, bytes=Size("200B")), "/1000", b""),
    "limit_data without a length": (
        LimitData(limit_data=LINK, bytes=Size("200B")),
        "/until-close/1000",
        b"",
    ),
}


def test_every_fault_is_tried() -> None:
    assert {step.kind for step, _, _ in STEPS.values()} == set(FAULTS)


@pytest.mark.parametrize("name", STEPS)
def test_fault_is_proven_and_leaves_a_clean_path(tmp_path: Path, name: str) -> None:
    step, path, body = STEPS[name]

    async def scenario() -> None:
        async with rig(tmp_path) as made:
            await get(made.link_port)
            window = made.window(step, path, body=body)
            assert await window.open() is None
            await window.close()
            (fault,) = made.faults()
            assert (fault.proven, fault.why, fault.own_before) == (True, None, 1)
            assert fault.direction == ("both" if fault.kind == "cut" else step.direction)
            times = [fault.on_ms, fault.proven_ms, fault.off_ms, fault.clean_ms]
            assert None not in times
            assert times == sorted(time for time in times if time is not None)
            attributes = msgspec.json.decode(fault.attributes)
            # A judge with nothing but the evidence comes to the same answer.
            assert SIGNATURES[fault.kind].took_hold(attributes, made.probes()) is None
            assert SIGNATURES[fault.kind].clean_again(attributes, made.probes()) is None
            assert b"x" in await get(made.link_port)

    run(scenario)


@pytest.mark.parametrize("name", FAULTS)
def test_sham_is_recorded_as_such_and_never_proven(tmp_path: Path, name: str) -> None:
    step, path, body = STEPS[name]

    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(step, path, mode="sham", body=body)
            assert await window.open() is None
            await window.close()
            (fault,) = made.faults()
            assert (fault.proven, fault.why) == (False, "sham: nothing was injected")
            assert fault.proven_ms == fault.on_ms
            assert fault.clean_ms is not None
            assert (
                SIGNATURES[fault.kind].took_hold(
                    msgspec.json.decode(fault.attributes), made.probes()
                )
                is not None
            )

    run(scenario)


def test_what_moves_on_open_connections_is_recorded(tmp_path: Path) -> None:
    """By the kernel's count, which knows them before they end, and when they are gone."""

    async def scenario() -> None:
        async with rig(tmp_path) as made:
            busy, idle, ends = [await Kept.open(made.link_port) for _ in range(3)]
            probing = await Kept.open(made.link_port, "127.0.0.2")
            window = made.window(Latency(latency=LINK, delay=Duration("50ms")))
            assert await window.open() is None
            await busy.ask()
            await ends.ask()
            await ends.close()
            await probing.ask()
            later = await Kept.open(made.link_port)
            await window.close()
            await busy.ask()
            (fault,) = made.faults()
            assert fault.proven_ms is not None and fault.off_ms is not None
            assert fault.followed
            held = {
                row.client: row
                for row in made.flows()
                if row.flow_from_ms >= fault.proven_ms and row.flow_to_ms <= fault.off_ms
            }
            assert held.keys() == {one.client for one in (busy, idle, ends, later)}
            moved = {
                one: (row.sent_bytes > 20, row.received_bytes > 20) for one, row in held.items()
            }
            assert moved == {
                busy.client: (True, True),
                idle.client: (False, False),
                ends.client: (True, True),
                later.client: (True, True),
            }
            assert [one for one, row in held.items() if row.ended] == [ends.client]
            before = [row for row in made.flows() if row.flow_from_ms <= fault.on_ms]
            assert {row.client for row in before} == {busy.client, idle.client, ends.client}
            assert not any(row.ended or row.sent_bytes for row in before)
            # Who was accepted inside is told, too: after the fault was proven, and before it was asked off.
            await made.monitor.finish()
            made.monitor.record(made.recorder)
            inside = [
                row.client
                for row in made.connections()
                if row.own
                and (row.accepted_after_ms or 0) >= fault.proven_ms
                and row.connected_ms <= fault.off_ms
            ]
            assert inside == [later.client]
            for one in (busy, idle, later, probing):
                await one.close()

    run(scenario)


def test_connections_that_a_cut_ended_are_recorded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            kept = await Kept.open(made.link_port)
            window = made.window(Cut(cut=LINK))
            assert await window.open() is None
            await window.close()
            (fault,) = made.faults()
            row = made.flows()[0]
            assert (row.client, row.ended, row.fault) == (kept.client, True, "fault")
            assert row.flow_from_ms <= fault.on_ms <= row.flow_to_ms <= (fault.off_ms or 0)
            await kept.close()

    run(scenario)


def test_a_kernel_that_does_not_tell_leaves_that_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            kept = await Kept.open(made.link_port)

            async def untold(*_: object, **__: object) -> None: ...

            monkeypatch.setattr(made.monitor, "flows", untold)
            window = made.window(Cut(cut=LINK))
            assert await window.open() is None
            await window.close()
            (fault,) = made.faults()
            assert (fault.proven, fault.followed, made.flows()) == (True, False, [])
            await kept.close()

    run(scenario)


def test_cut_of_a_dead_server_is_not_proven(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            made.server_port = made.ports.take()
            window = made.window(Cut(cut=LINK))
            assert "direct control failed: refused" in (await window.open() or "")
            await window.close()
            assert made.faults()[0].proven is False

    run(scenario)


def test_too_small_an_answer_is_not_proven(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Bandwidth(bandwidth=LINK, rate=ByteRate("10KB/s")), "/20")
            assert "it takes 500 ms to tell" in (await window.open() or "")
            await window.close()
            (fault,) = made.faults()
            assert fault.proven is False
            assert fault.proven_ms is None
            assert "it takes 500 ms to tell" in (fault.why or "")

    run(scenario)


def test_too_long_an_answer_is_not_even_switched_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Bandwidth(bandwidth=LINK, rate=ByteRate("1KB/s")), "/400000")
            assert "it was not switched on" in (await window.open() or "")
            await window.close()
            (fault,) = made.faults()
            assert (fault.proven, fault.proven_ms) == (False, None)
            assert "may take at most 5000" in (fault.why or "")

    run(scenario)


def test_clients_that_went_away_do_not_hang_the_removal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Latency(latency=LINK, delay=Duration("500ms")))
            assert await window.open() is None
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", made.link_port)
                writer.write(b"GET /2000 HTTP/1.1\r\nHost: server\r\n\r\n")
                await writer.drain()
                writer.transport.abort()
            await window.close()
            assert made.faults()[0].why is None

    run(scenario)


def test_cut_on_top_of_latency_spoils_the_latency_and_not_the_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            slow = made.window(Latency(latency=LINK, delay=Duration("100ms")), name="slow")
            down = made.window(Cut(cut=LINK), name="down")
            assert await slow.open() is None
            assert await down.open() is None
            await slow.close()
            await down.close()
            first, second = made.faults()
            assert (first.fault, first.proven, first.clean_ms) == ("slow", False, None)
            assert "at the fault's end" in (first.why or "")
            assert (second.fault, second.proven, second.why) == ("down", True, None)
            assert second.clean_ms is not None

    run(scenario)


def test_two_cuts_end_with_the_second(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            one, two = (
                made.window(Cut(cut=LINK), name="one"),
                made.window(Cut(cut=LINK), name="two"),
            )
            assert await one.open() is None
            assert "before the fault" in (await two.open() or "")
            await two.close()
            with pytest.raises(ConnectionRefusedError):
                await get(made.link_port)
            await one.close()
            by_name = {fault.fault: fault for fault in made.faults()}
            assert (by_name["one"].proven, by_name["two"].proven) == (True, False)
            assert by_name["one"].clean_ms is not None
            assert by_name["two"].clean_ms is None

    run(scenario)


def test_two_toxics_of_one_kind_add_up_and_both_are_recorded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            one = made.window(Latency(latency=LINK, delay=Duration("60ms")), name="one")
            two = made.window(Latency(latency=LINK, delay=Duration("600ms")), name="two")
            assert await one.open() is None
            assert await two.open() is None
            await two.close()
            await one.close()
            assert [fault.proven for fault in made.faults()] == [True, True]

    run(scenario)


def test_removal_that_hangs_is_told_and_the_server_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Latency(latency=LINK, delay=Duration("50ms")))
            assert await window.open() is None
            await freeze(made.proxies.pid)
            await window.close()
            (fault,) = made.faults()
            assert fault.off_ms is not None
            assert fault.clean_ms is None
            assert fault.proven is False
            assert made.proxies.problem is not None
            assert "was killed" in made.proxies.problem

    run(scenario)


def test_client_that_stops_reading_hangs_the_removal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Latency(latency=LINK, delay=Duration("50ms")))
            assert await window.open() is None
            reader, writer = await asyncio.open_connection("127.0.0.1", made.link_port, limit=1)
            writer.write(b"GET /40000000 HTTP/1.1\r\nHost: server\r\n\r\n")
            await reader.read(1)
            await until(lambda: is_stuck(made.link_port))
            await window.close()
            (fault,) = made.faults()
            assert fault.clean_ms is None
            # What the fault says first may be that the probes at its end found a busy machine.
            assert "was killed" in (made.proxies.problem or "")
            writer.transport.abort()

    run(scenario)


def test_dead_toxiproxy_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Latency(latency=LINK, delay=Duration("50ms")))
            os.kill(made.proxies.pid, signal.SIGKILL)
            assert await window.open() is not None
            await window.close()
            (fault,) = made.faults()
            assert fault.proven is False
            assert "ended with -9" in (made.proxies.problem or "")

    run(scenario)


def test_dead_prober_is_told_and_the_fault_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Cut(cut=LINK))
            assert await window.open() is None
            await made.prober.stop()
            await window.close()
            (fault,) = made.faults()
            assert (fault.proven, fault.clean_ms) == (False, None)
            assert b"x" in await get(made.link_port)

    run(scenario)


def test_close_may_be_called_often_and_records_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Cut(cut=LINK))
            opening = asyncio.create_task(window.open())
            await asyncio.sleep(0)
            await asyncio.gather(window.close(), window.close(), opening)
            await window.close()
            assert len(made.faults()) == 1
            assert b"x" in await get(made.link_port)

    run(scenario)


def test_cancelled_opening_and_closing_still_clean_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Timeout(timeout=LINK))
            opening = asyncio.create_task(window.open())
            await until(lambda: window.on_ms is not None)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            closing = asyncio.create_task(window.close())
            await asyncio.sleep(0)
            closing.cancel()
            await window.close()
            (fault,) = made.faults()
            assert fault.proven is False
            assert fault.why == "it was ended before it was proven"
            assert b"x" in await get(made.link_port)

    run(scenario)


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 10, 21, 44])
def test_opening_may_be_cancelled_at_any_moment(tmp_path: Path, turns: int) -> None:
    """The removal never overtakes the injection that it takes back."""

    async def scenario() -> None:
        async with rig(tmp_path) as made:
            window = made.window(Cut(cut=LINK) if turns % 2 else ResetPeer(reset_peer=LINK))
            opening = asyncio.create_task(window.open())
            await until(lambda: window.on_ms is not None)
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await window.close()
            assert b"x" in await get(made.link_port)

    run(scenario)


def test_window_ended_before_it_was_on_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            await made.window(Cut(cut=LINK)).close()
            assert made.faults()[0].why == "it was ended before it was switched on"

    run(scenario)

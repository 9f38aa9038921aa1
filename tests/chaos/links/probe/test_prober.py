"""Probes against real sockets that do what servers and networks do."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec import structs

from chaos.clock import RunClock
from chaos.guard import Guard
from chaos.links.probe import Ask, Paths, ProbeError, Prober, Seen
from chaos.links.probe.worker import AnswerEnd
from chaos.ports import PortPool
from tests.builders.link_rig import HOST, run

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 20.0
ASK = Ask(request=b"GET / HTTP/1.1\r\n\r\n", give_up_ms=20_000)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@asynccontextmanager
async def probing(serve: Serve) -> AsyncIterator[tuple[Prober, Paths, RunClock]]:
    """A prober, and the two paths to a server of one's own; the same one on both."""
    guard, clock = Guard(), RunClock()
    prober = await Prober.start(guard.spawn, clock)
    server = await asyncio.start_server(serve, HOST, 0)
    address = (HOST, server.sockets[0].getsockname()[1])
    try:
        yield prober, Paths(link=address, direct=address), clock
    finally:
        server.close()
        await prober.stop()
        guard.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    writer.close()


async def answer_and_stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await reader.read()
    writer.close()


async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER[:-2])
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 abc\r\n\r\n")
    await reader.read()
    writer.close()


async def talk_redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"-ERR unknown command 'GET'\r\n")
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("serve", "until_close", "failure", "received"),
    [
        (answer, True, None, len(ANSWER)),
        (answer_and_stay, False, None, len(ANSWER)),
        (answer_and_stay, True, "timeout", len(ANSWER)),
        (break_off, False, "eof", len(ANSWER) - 2),
        (reset, False, "reset", 0),
        (stay_silent, False, "timeout", 0),
        (talk_nonsense, False, "not HTTP", 16),
        (talk_redis, True, "not HTTP", 28),
    ],
)
def test_what_a_probe_sees(
    serve: Serve, until_close: bool, failure: str | None, received: int
) -> None:
    async def scenario() -> None:
        async with probing(serve) as (prober, paths, clock):
            began_ms = clock.now_ms()
            give_up_ms = 1000 if failure == "timeout" else ASK.give_up_ms
            ask = Ask(request=ASK.request, until_close=until_close, give_up_ms=give_up_ms)
            seen = await prober.pairs(paths, ask, 2)
            assert [probe.path for probe in seen] == ["link", "direct"] * 2
            for probe in seen:
                assert (probe.failure, probe.received_bytes) == (failure, received)
                assert began_ms <= probe.probed_ms <= clock.now_ms()
                in_order(probe)
                went_on = failure == "not HTTP" or (failure is None and not until_close)
                assert (probe.closed_after_ms is None) == went_on

    run(scenario)


HELLO = b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
PLAIN = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
PING = Ask(request=b"PING\r\n", protocol="tcp", ends=b"PONG\r\n")
TLS = Ask(request=b"hello", protocol="tls")
UPGRADE = Ask(request=ASK.request, protocol="websocket")


@pytest.mark.parametrize(
    ("ask", "answered", "failure", "answer"),
    [
        (PING, b"+PONG\r\n", None, "+PONG"),
        (PING, b"PONG", "eof", "PONG"),
        (PING, b"-NOAUTH\xff\r\n", "eof", r"-NOAUTH\xff"),
        (PING, PLAIN, "eof", "HTTP/1.0 400 Bad Request"),
        (TLS, HELLO, None, r"\x16\x03\x03\x00\x04\x02\x00\x00\x00"),
        (TLS, HELLO[:-1], "eof", r"\x16\x03\x03\x00\x04\x02\x00\x00"),
        (TLS, b"\x15\x03\x03\x00\x02\x02\x28", "not TLS", r"\x15\x03\x03\x00\x02\x02("),
        (TLS, HELLO[:5] + b"\x0e", "not TLS", r"\x16\x03\x03\x00\x04\x0e"),
        (TLS, PLAIN, "not TLS", "HTTP/1.0 400 Bad Request"),
        (UPGRADE, UPGRADED, None, "HTTP/1.1 101 Switching Protocols"),
        (UPGRADE, HELLO, "not HTTP", r"\x16\x03\x03\x00\x04\x02\x00\x00\x00"),
        (ASK, PLAIN, None, "HTTP/1.0 400 Bad Request"),
        (ASK, b"+PONG\r\n", "not HTTP", "+PONG"),
        (ASK, b"HTTP/1.1", "eof", "HTTP/1.1"),
        (ASK, b"", "eof", None),
    ],
)
def test_what_a_probe_is_answered_in_its_protocol(
    ask: Ask, answered: bytes, failure: str | None, answer: str | None
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(ask.request)
        writer.write(answered)
        writer.close()

    async def scenario() -> None:
        async with probing(serve) as (prober, paths, _):
            for seen in await prober.pairs(paths, structs.replace(ask, give_up_ms=20_000), 1):
                assert (seen.protocol, seen.failure, seen.answer) == (
                    ask.protocol,
                    failure,
                    answer,
                )

    run(scenario)


def in_order(probe: Seen) -> None:
    """What happened happened in this order."""
    times = [
        probe.connected_after_ms,
        probe.first_byte_after_ms,
        probe.last_byte_after_ms,
        probe.closed_after_ms,
    ]
    known = [time for time in times if time is not None]
    assert known == sorted(known)
    assert (probe.first_byte_after_ms is None) == (probe.received_bytes == 0)


def test_refused_connection_is_refused() -> None:
    async def scenario() -> None:
        async with probing(answer) as (prober, paths, _):
            ports = PortPool()
            dead = Paths(link=(HOST, ports.take()), direct=paths.direct)
            link, direct = await prober.pairs(dead, ASK, 1)
            ports.release()
            assert (link.failure, link.connected_after_ms, link.closed_after_ms) == (
                "refused",
                None,
                None,
            )
            assert direct.failure is None

    run(scenario)


def test_probe_comes_from_an_address_of_its_own() -> None:
    sources: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sources.append(writer.get_extra_info("peername")[0])
        await answer(reader, writer)

    async def scenario() -> None:
        async with probing(note) as (prober, paths, _):
            await prober.pairs(paths, ASK, 1)
            await prober.release(await prober.hold(paths))
            assert set(sources) == {"127.0.0.2"}

    run(scenario)


def test_probe_without_a_request_only_connects() -> None:
    async def scenario() -> None:
        async with probing(stay_silent) as (prober, paths, _):
            for probe in await prober.pairs(paths, Ask(give_up_ms=1000), 1):
                assert probe.failure is None
                assert probe.connected_after_ms is not None

    run(scenario)


def test_probes_overlap() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        writer.write(ANSWER)
        writer.close()

    async def scenario() -> None:
        async with probing(late) as (prober, paths, _):
            seen = await prober.pairs(paths, ASK, 5)
            first_end = min(probe.probed_ms + (probe.closed_after_ms or 9e9) for probe in seen)
            assert max(probe.probed_ms for probe in seen) < first_end

    run(scenario)


def test_held_connections_are_looked_at_and_spent() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await answer(reader, writer)

    async def scenario() -> None:
        async with probing(keep) as (prober, paths, _):
            key = await prober.hold(paths)
            open_ = await prober.look(key)
            assert [(probe.path, probe.failure) for probe in open_] == [
                ("link", None),
                ("direct", None),
            ]
            writers[0].close()
            await writers[0].wait_closed()
            spent = {probe.path: probe for probe in await prober.spend(key, paths, ASK)}
            assert spent["link"].failure == "eof"
            assert spent["direct"].failure is None
            assert spent["direct"].received_bytes == len(ANSWER)
            assert {probe.connection for probe in spent.values()} == {"established"}
            assert await prober.look(key) == []

    run(scenario)


def test_held_connection_that_stays_open_is_told() -> None:
    async def scenario() -> None:
        async with probing(stay_silent) as (prober, paths, _):
            key = await prober.hold(paths)
            spent = {p.path: p.failure for p in await prober.spend(key, paths, Ask(give_up_ms=200))}
            # Nothing was asked: the control is expected to stay open, the link's to have been closed.
            assert spent == {"link": "timeout", "direct": None}

    run(scenario)


def test_dead_prober_is_an_error_at_once_and_ever_after() -> None:
    async def scenario() -> None:
        async with probing(stay_silent) as (prober, paths, _):
            asking = asyncio.create_task(
                prober.pairs(paths, Ask(request=b"x", give_up_ms=20_000), 1)
            )
            await prober.look("nothing")
            prober._child._process.kill()
            with pytest.raises(ProbeError, match="probing process ended"):
                await asking
            with pytest.raises(ProbeError, match="probing process ended"):
                await prober.pairs(paths, ASK, 1)

    run(scenario)


def count_until_closed(server: socket.socket, connections: int) -> None:
    """Do nothing but count until so many connections were opened, and closed again by whoever opened them."""
    server.setblocking(False)
    accepted: list[socket.socket] = []
    ends_s = time.monotonic() + PATIENCE_S
    while connections:
        assert time.monotonic() < ends_s, f"{connections} connections were not made or stayed open"
        with contextlib.suppress(BlockingIOError):
            accepted.append(server.accept()[0])
            accepted[-1].setblocking(False)
        for each in list(accepted):
            with contextlib.suppress(BlockingIOError):
                if each.recv(1) == b"":
                    accepted.remove(each)
                    each.close()
                    connections -= 1


def test_busy_loop_of_the_engine_does_not_slow_a_probe() -> None:
    """The probe is under way while this process does nothing but count."""

    async def scenario() -> None:
        guard, clock = Guard(), RunClock()
        prober = await Prober.start(guard.spawn, clock)
        with socket.create_server((HOST, 0)) as server:
            address = server.getsockname()[:2]
            asking = asyncio.create_task(
                prober.pairs(Paths(link=address, direct=address), Ask(give_up_ms=400), 3)
            )
            await asyncio.sleep(0.01)
            count_until_closed(server, 6)
            ended_ms = clock.now_ms()
            seen = await asking
        await prober.stop()
        guard.close()
        for probe in seen:
            assert probe.connected_after_ms is not None
            assert probe.probed_ms + probe.connected_after_ms < ended_ms

    run(scenario)


ANSWERS = {
    "length": (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", False, True),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\nabc", False, False),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n", False, True),
    "head": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", True, True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", False, True),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", False, True),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        False,
        True,
    ),
    "trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
        False,
        True,
    ),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        False,
        True,
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_end_of_an_answer_is_found_exactly(name: str, step: int) -> None:
    data, head, ends = ANSWERS[name]
    end = AnswerEnd(head)
    for begin in range(0, len(data), step):
        assert not end.complete
        end.feed(data[begin : begin + step])
    assert end.complete == ends
    end.feed_close()
    assert end.complete


@pytest.mark.parametrize("name", sorted(ANSWERS.keys() - {"no length"}))
def test_answer_that_breaks_off_is_not_complete(name: str) -> None:
    data, head, _ = ANSWERS[name]
    end = AnswerEnd(head)
    end.feed(data[:-1])
    end.feed_close()
    assert not end.complete

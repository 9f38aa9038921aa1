"""The client against real sockets that behave badly."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.http.client import (
    AnswerTimeout,
    BadAnswer,
    ConnectFailed,
    ConnectionLost,
    HttpAnswer,
    HttpClient,
    HttpLimits,
    HttpRequest,
    PoolExhausted,
)
from tests.service.scripted_server import scripted_server

SHORT_S = 0.1
LONG_S = 30.0


@asynccontextmanager
async def client_of(url: str, **limits: Any) -> AsyncIterator[HttpClient]:
    # A slow machine takes its time to connect, even to itself.
    bounds = {"connect_s": LONG_S, **limits}
    client = HttpClient(url, {"Authorization": "Bearer t"}, HttpLimits(**bounds))
    try:
        yield client
    finally:
        await client.close()


def get(path: str = "/x", within_s: float = LONG_S, repeatable: bool = True) -> HttpRequest:
    return HttpRequest("GET", path, within_s, repeatable=repeatable)


def test_an_answer_comes_whole_and_the_connection_is_used_again() -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            client_of(server.url + "/base") as client,
        ):
            server.script = scripts.answering(b'{"a": 1}')
            first = await client.send(
                HttpRequest("POST", "/p", LONG_S, b"12345", {"X-Request-Id": "r1"})
            )
            await client.send(get())
            assert first == HttpAnswer(200, {"content-length": "8"}, b'{"a": 1}')
            assert server.connections == 1
            sent = server.requests[0]
            assert sent.startswith(b"POST /base/p HTTP/1.1\r\n")
            assert b"Authorization: Bearer t\r\n" in sent
            assert b"X-Request-Id: r1\r\n" in sent
            assert b"User-Agent: sonia\r\n" in sent
            assert b"Accept: application/json\r\n" in sent
            assert sent.endswith(b"\r\n\r\n12345")

    asyncio.run(main())


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcde",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nabcde",
    ],
    ids=["chunked", "until close", "http/1.0", "an encoding that was not asked for"],
)
def test_bodies_of_every_framing(content: bytes) -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), client_of(server.url) as client:
            server.script = scripts.raw(content)
            assert (await client.send(get())).body == b"abcde"

    asyncio.run(main())


def test_refused_is_told_as_not_sent() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        async with client_of(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(ConnectFailed) as caught:
                await client.send(get())
        assert not caught.value.sent

    asyncio.run(main())


def test_silence_ends_after_the_time_given_and_counts_as_sent() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), client_of(server.url) as client:
            server.script = scripts.silent()
            with pytest.raises(AnswerTimeout) as caught:
                await client.send(get(within_s=SHORT_S))
            assert caught.value.sent

    asyncio.run(main())


def test_after_a_time_out_the_connection_is_not_used_again() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), client_of(server.url) as client:
            server.script = scripts.silent()
            with pytest.raises(AnswerTimeout):
                await client.send(get(within_s=SHORT_S))
            server.script = scripts.answering(b"second")
            assert (await client.send(get())).body == b"second"
            assert server.connections == 2

    asyncio.run(main())


def test_a_pooled_connection_that_died_is_replaced() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), client_of(server.url) as client:
            server.script = scripts.answering()
            await client.send(get())
            server.hang_up()
            # Sent in the same turn of the loop: the client cannot have noticed yet.
            assert (await client.send(get())).status == 200
            assert server.connections == 2

    asyncio.run(main())


def test_what_may_not_be_repeated_goes_out_once_on_a_fresh_connection() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), client_of(server.url) as client:
            server.script = scripts.answering()
            await client.send(get())

            async def read_and_hang_up(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                await server.read_request(reader)

            server.script = read_and_hang_up
            with pytest.raises(ConnectionLost) as caught:
                await client.send(get("/once", repeatable=False))
            assert caught.value.sent
            assert len([each for each in server.requests if b"/once" in each]) == 1
            assert server.connections == 2

    asyncio.run(main())


def test_what_may_not_be_repeated_leaves_no_connection_behind() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), client_of(server.url) as client:
            server.script = scripts.answering()
            for _ in range(3):
                await client.send(get(repeatable=False))
            assert server.connections == 3
            await client.send(get())
            assert server.connections == 4

    asyncio.run(main())


def test_connections_that_were_idle_for_long_are_ended() -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            client_of(server.url, idle_s=0.05) as client,
        ):
            server.script = scripts.answering()
            await asyncio.gather(*(client.send(get()) for _ in range(3)))
            # Whoever comes late takes up a connection that another one has left.
            assert 1 <= server.connections <= 3
            await asyncio.wait_for(server.left_with(0), LONG_S)

    asyncio.run(main())


def test_an_answer_cut_short_is_lost_and_not_asked_for_again() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), client_of(server.url) as client:
            server.script = scripts.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
            with pytest.raises(ConnectionLost):
                await client.send(get())
            assert server.connections == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    "content",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + b"x" * 100],
    ids=["not http", "too large"],
)
def test_unusable_answers(content: bytes) -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            client_of(server.url, max_answer_bytes=50) as client,
        ):
            server.script = scripts.raw(content)
            with pytest.raises(BadAnswer):
                await client.send(get())

    asyncio.run(main())


def test_waiting_for_a_slot_is_told_apart_from_a_slow_server() -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            client_of(server.url, connections=1) as client,
        ):
            server.script = scripts.silent()
            hanging = asyncio.create_task(client.send(get()))
            await server.connected.wait()
            with pytest.raises(PoolExhausted):
                await client.send(get(within_s=SHORT_S))
            hanging.cancel()
            await asyncio.gather(hanging, return_exceptions=True)
            server.script = scripts.answering()
            assert (await client.send(get())).status == 200

    asyncio.run(main())


def test_a_cancelled_request_leaves_nothing_for_the_next() -> None:
    async def main() -> None:
        async with scripted_server() as (server, scripts), client_of(server.url) as client:
            server.script = scripts.answering(b"warm")
            await client.send(get())
            reached = asyncio.Event()

            async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await server.read_request(reader)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
                reached.set()
                await reader.read()

            server.hang_up()
            server.script = half
            going = asyncio.create_task(client.send(get("/half")))
            await reached.wait()
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
            server.script = scripts.answering(b"whole")
            assert (await client.send(get())).body == b"whole"

    asyncio.run(main())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a directory that lists itself


async def called(
    client: HttpClient, request: HttpRequest, cancel_when: asyncio.Event | None
) -> str:
    """How one call ended; with `cancel_when` it is cancelled as soon as that is set."""
    call = asyncio.create_task(client.send(request))
    if cancel_when is not None:
        await cancel_when.wait()
        call.cancel()
    (ended,) = await asyncio.gather(call, return_exceptions=True)
    return type(ended).__name__


# How calls may end, the server's script, and the request. On a slow host the time may be up before there is a connection.
CALLS: dict[str, tuple[set[str], str, HttpRequest]] = {
    "answered": ({"HttpAnswer"}, "answering", get()),
    "answered once": ({"HttpAnswer"}, "answering", get(repeatable=False)),
    "cut short": ({"ConnectionLost"}, "cut short", get()),
    "too large": ({"BadAnswer"}, "too large", get()),
    "in no time": ({"AnswerTimeout", "ConnectFailed"}, "silent", get(within_s=SHORT_S)),
    "cancelled": ({"CancelledError"}, "silent", get()),
}


@pytest.mark.parametrize("kind", CALLS)
def test_two_hundred_calls_leave_no_connection_behind(kind: str) -> None:
    async def main() -> None:
        async with (
            scripted_server() as (server, scripts),
            client_of(server.url, max_answer_bytes=50) as client,
        ):
            scripted = {
                "answering": scripts.answering(),
                "cut short": scripts.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
                "too large": scripts.answering(b"x" * 51),
                "silent": scripts.silent(),
            }
            # Whatever the first call and the loop itself keep open is not counted.
            server.script = scripts.answering()
            await client.send(get())
            await client.renew()
            await asyncio.wait_for(server.left_with(0), LONG_S)
            before = descriptors()
            ends, script, request = CALLS[kind]
            server.script = scripted[script]
            cancel_when = server.connected if kind == "cancelled" else None
            ended: list[str] = []
            for _ in range(4):
                server.connected.clear()
                ended += await asyncio.gather(
                    *(called(client, request, cancel_when) for _ in range(50))
                )
            assert set(ended) <= ends
            await client.renew()
            await asyncio.wait_for(server.left_with(0), LONG_S)
            async with asyncio.timeout(LONG_S):
                while descriptors() > before:  # noqa: ASYNC110 - a transport that is closed tells nobody
                    await asyncio.sleep(0.005)

    asyncio.run(main())


def test_no_start_waits_for_the_client_to_be_imported() -> None:
    code = (
        "import sys, service.gateway.app, service.gateway.boot, service.memory.process,"
        " service.model.process, service.tools.process; print('aiohttp' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"


def test_renewing_also_retires_connections_in_use() -> None:
    async def main() -> None:
        async with scripted_server() as (server, _), client_of(server.url) as client:
            release = asyncio.Event()

            async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                while True:
                    await server.read_request(reader)
                    await release.wait()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

            server.script = held
            going = asyncio.create_task(client.send(get()))
            await server.asked.wait()
            await client.renew()
            release.set()
            assert (await going).status == 200
            await client.send(get())
            assert server.connections == 2
            # What ended its request after the others were given up is gone, too.
            await asyncio.wait_for(server.left_with(1), LONG_S)

    asyncio.run(main())


@pytest.mark.parametrize(
    "url", ["127.0.0.1:7020", "ftp://127.0.0.1", "http://", "http://h/?q=1", ""]
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        HttpClient(url, {}, HttpLimits())


def test_a_header_cannot_smuggle_another() -> None:
    with pytest.raises(ValueError, match="line break"):
        HttpClient("http://127.0.0.1", {"A": "b\r\nC: d"}, HttpLimits())

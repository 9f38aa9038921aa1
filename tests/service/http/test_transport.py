"""Connections within bounds: each is tried with bytes on a server that answers at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import uvicorn
from uvicorn.server import ServerState

from service.auth.credentials import Actor
from service.http.transport import Limits, bounded
from tests.service.running import until

SMALL = Limits(
    head_bytes=2000,
    path_bytes=100,
    headers=10,
    unread_body_bytes=4000,
    waiting_requests=3,
    head_s=30,
    body_s=30,
    unread_s=30,
)
ANSWER = b"x" * 20
Act = Callable[["Line"], Awaitable[None]]


class Line:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()
        await asyncio.sleep(0)

    async def answer(self) -> tuple[int, bytes]:
        """(status, body) of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if b"length" in line
        )
        return int(head.split()[1]), await self.reader.readexactly(length)

    def is_ended(self) -> bool:
        """Whether the server has ended the connection, as far as is known."""
        return self.reader.at_eof() or self.writer.is_closing() or bool(self.reader.exception())

    async def is_over(self) -> bool:
        """Wait for the end of the connection."""
        with contextlib.suppress(ConnectionError):
            assert await self.reader.read() == b""
        return True


class Server:
    """A server on a port of its own; `answer` answers."""

    def __init__(self, limits: Limits, room: int, answer: Any) -> None:
        http, sockets = bounded(limits, room)
        self._config = uvicorn.Config(
            answer, http=http, ws=sockets, log_config=None, timeout_keep_alive=60
        )
        self._config.load()
        self.held = http.held

    async def open(self) -> "asyncio.Server":
        state = ServerState()
        made: Any = self._config.http_protocol_class
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: made(config=self._config, server_state=state, app_state={}), "127.0.0.1"
        )


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once, and know whoever says that it is known."""
    if any(name == b"known" for name, _ in scope["headers"]):
        scope["user"] = Actor("known", "operator", "")
    headers = [(b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


@contextlib.asynccontextmanager
async def lines(
    limits: Limits, room: int = 100, answer: Any = answering
) -> AsyncIterator[tuple[Server, Callable[[], Awaitable[Line]]]]:
    server = Server(limits, room, answer)
    listening = await server.open()
    opened = []

    async def connect() -> Line:
        host, port = listening.sockets[0].getsockname()
        opened.append(Line(*await asyncio.open_connection(host, port)))
        return opened[-1]

    try:
        yield server, connect
    finally:
        for each in opened:
            each.writer.transport.abort()
        listening.close()


def talk(act: Act, limits: Limits = SMALL) -> None:
    """Let `act` have one connection."""

    async def run() -> None:
        async with asyncio.timeout(30), lines(limits) as (_, connect):
            await act(await connect())

    asyncio.run(run())


HEAD = b"GET / HTTP/1.1\r\nhost: a\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414, id="path"),
        pytest.param(b"GET /" + b"a" * 9000, 431, id="a target without an end"),
        pytest.param(b"GET /?" + b"a" * 3000 + b" HTTP/1.1\r\n\r\n", 431, id="query"),
        pytest.param(HEAD + b"a: b\r\n" * 10 + b"\r\n", 431, id="number of headers"),
        pytest.param(HEAD + b"a: " + b"b" * 2000 + b"\r\n\r\n", 431, id="a long header"),
        pytest.param(HEAD + b"a" * 2000 + b": b\r\n\r\n", 431, id="a long name"),
        pytest.param(b"\x00\xff\r\n\r\n", 400, id="no HTTP"),
        pytest.param(
            HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", 400, id="two lengths"
        ),
    ],
)
def test_heads_beyond_a_bound_are_refused_with_a_problem(sent: bytes, status: int) -> None:
    async def act(line: Line) -> None:
        await line.send(sent)
        answered, body = await line.answer()
        problem = msgspec.json.decode(body)
        assert (answered, problem["status"]) == (status, status)
        assert problem["request_id"].startswith("req_")
        assert await line.is_over()

    talk(act)


def test_a_header_without_an_end_is_not_kept() -> None:
    async def act(line: Line) -> None:
        await line.send(HEAD + b"a: ")
        while not line.is_ended():
            await line.send(b"b" * 1000)

    talk(act)


def test_what_is_within_all_bounds_is_answered_on_one_connection() -> None:
    async def act(line: Line) -> None:
        for sent in (
            HEAD + b"\r\n",
            b"GET /" + b"a" * 90 + b"?" + b"q" * 1500 + b" HTTP/1.1\r\n\r\n",
            HEAD + b"a: b\r\n" * 9 + b"\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
            HEAD + b"\r\n" + HEAD + b"\r\n",
        ):
            await line.send(sent)
            assert await line.answer() == (200, ANSWER)
        assert await line.answer() == (200, ANSWER)

    talk(act)


def test_half_a_head_is_told_that_it_is_late() -> None:
    async def act(line: Line) -> None:
        await line.send(HEAD)
        assert (await line.answer())[0] == 408
        assert await line.is_over()

    talk(act, msgspec.structs.replace(SMALL, head_s=0.05))


def test_time_for_a_head_is_not_won_by_sending_it_slowly() -> None:
    async def act(line: Line) -> None:
        await line.send(HEAD + b"a: ")
        while not line.is_ended():
            await line.send(b"b")

    talk(act, msgspec.structs.replace(SMALL, head_bytes=1 << 40, head_s=0.05))


@pytest.mark.parametrize("sent", [b"", b"\r\n", HEAD + b"\r\n" + b"GET"], ids=["", "line", "next"])
def test_silence_ends(sent: bytes) -> None:
    async def act(line: Line) -> None:
        await line.send(sent)
        if b"\r\n\r\n" in sent:
            assert (await line.answer())[0] == 200
            assert (await line.answer())[0] == 408
        assert await line.is_over()

    talk(act, msgspec.structs.replace(SMALL, head_s=0.05))


def test_half_a_body_is_not_waited_for() -> None:
    async def act(line: Line) -> None:
        await line.send(b"POST / HTTP/1.1\r\ncontent-length: 50\r\n\r\nhello")
        assert await line.answer() == (200, ANSWER)
        await line.send(b"more")
        assert await line.is_over()

    talk(act, msgspec.structs.replace(SMALL, body_s=0.05))


def test_a_body_that_nobody_reads_is_not_taken_for_ever() -> None:
    async def act(line: Line) -> None:
        await line.send(b"POST / HTTP/1.1\r\ncontent-length: 500000\r\n\r\n")
        assert await line.answer() == (200, ANSWER)
        await line.send(b"b" * 5000)
        assert await line.is_over()

    talk(act)


def test_requests_that_wait_behind_one_another_are_few() -> None:
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await answering(scope, receive, send)

    async def run() -> None:
        async with asyncio.timeout(30), lines(SMALL, answer=slow) as (_, connect):
            line = await connect()
            await line.send((HEAD + b"\r\n") * 3)
            release.set()
            for _ in range(3):
                assert await line.answer() == (200, ANSWER)
            release.clear()
            await line.send((HEAD + b"\r\n") * 10)
            assert await line.is_over()

    asyncio.run(run())


def test_an_answer_that_nobody_reads_ends_the_connection() -> None:
    asked = asyncio.Event()

    async def much(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        headers = [(b"content-length", b"%d" % 50_000_000)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 50_000_000})

    async def run() -> None:
        limits = msgspec.structs.replace(SMALL, unread_s=0.05)
        async with asyncio.timeout(30), lines(limits, answer=much) as (server, connect):
            line = await connect()
            line.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await line.send(HEAD + b"\r\n")
            await asked.wait()
            await asyncio.to_thread(until, lambda: len(server.held) == 0)

    asyncio.run(run())


def test_silent_connections_leave_room_for_whoever_comes_and_for_whoever_is_known() -> None:
    async def run() -> None:
        async with asyncio.timeout(30), lines(SMALL, room=5) as (server, connect):
            known = await connect()
            await known.send(HEAD + b"known: yes\r\n\r\n")
            assert (await known.answer())[0] == 200
            silent = [await connect() for _ in range(20)]
            for each in silent[:15]:
                assert await each.is_over()
            newcomer = await connect()
            await newcomer.send(HEAD + b"\r\n")
            assert (await newcomer.answer())[0] == 200
            await known.send(HEAD + b"\r\n")
            assert (await known.answer())[0] == 200
            assert len(server.held) == 5

    asyncio.run(run())

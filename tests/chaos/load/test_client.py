"""Connections of a load that are used again: who ends them first, and what is seen of it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Struct, field

from chaos.http import AnswerReader
from chaos.load import client as client_module
from chaos.load.client import Client, Outgoing
from chaos.load.plan import Clients
from tests.builders.http_servers import OK
from tests.builders.load_runs import plan_for

KEPT = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=5, max=99\r\n\r\n")
REQUEST = b"GET /x HTTP/1.1\r\n\r\n"
NEVER_S = 600.0


class Seen(Struct):
    """A listener that notes what it is told: (seq, outcome, reused), reasons, and how often somebody is free."""

    ended: list[tuple[int, str, bool]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    freed: int = 0

    def answered(
        self, seq: int, columns: bytes, body: bytes, done_s: float, *, reused: bool
    ) -> None:
        self.ended.append((seq, "ok", reused))

    def free(self, now_s: float) -> None:
        self.freed += 1

    def failed(
        self,
        seq: int,
        outcome: str,
        reason: str,
        reader: AnswerReader | None,
        *,
        reused: bool = False,
    ) -> None:
        self.ended.append((seq, outcome, reused))
        self.reasons.append(reason)

    def unable(self, reason: str) -> None:
        raise AssertionError(reason)


class Rig:
    """A client, and a listening socket that the test serves by hand."""

    def __init__(self, listener: socket.socket, client: Client, seen: Seen) -> None:
        self.listener, self.client, self.seen = listener, client, seen
        self._seq = 0

    async def ask(self) -> int:
        """Send one request; its number."""
        self._seq += 1
        deadline_s = time.monotonic() + NEVER_S
        self.client.send(Outgoing(self._seq, 0, REQUEST, False, deadline_s), time.monotonic())
        return self._seq

    async def accept(self) -> socket.socket:
        """The connection of the next request that needs a new one, its request read."""
        connection, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        connection.setblocking(False)
        await self.read(connection)
        return connection

    async def answered(self, answer: bytes = OK) -> socket.socket:
        """The connection of a first request that was answered, once its sender is free."""
        await self.ask()
        connection = await self.accept()
        connection.send(answer)
        await self.until(ended=1, freed=1)
        return connection

    async def read(self, connection: socket.socket) -> None:
        assert await asyncio.get_running_loop().sock_recv(connection, 1000) == REQUEST

    async def until(self, ended: int, freed: int) -> None:
        """Wait until so much was told."""
        while len(self.seen.ended) < ended or self.seen.freed < freed:  # noqa: ASYNC110 - it only counts
            await asyncio.sleep(0.001)


@asynccontextmanager
async def rig(directory: Path, **changes: object) -> AsyncIterator[Rig]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        seen = Seen()
        plan = plan_for(directory, listener.getsockname()[1], Clients(1, 1.0), **changes)
        client = Client(plan, seen, 10)
        try:
            async with asyncio.timeout(60):
                yield Rig(listener, client, seen)
        finally:
            client.stop("the test is over")


def test_a_close_that_nobody_announced_is_seen_before_the_next_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "REST_S", NEVER_S)

    async def main() -> None:
        async with rig(tmp_path) as by:
            await by.ask()
            server = await by.accept()
            server.send(OK)
            await by.until(ended=1, freed=0)
            assert by.seen.freed == 0
            server.close()
            await by.until(ended=1, freed=1)
            await by.ask()
            again = await by.accept()
            again.send(OK)
            await by.until(ended=2, freed=1)
            again.close()
            assert by.seen.ended == [(1, "ok", False), (2, "ok", False)]

    asyncio.run(main())


def test_a_connection_that_stays_is_used_again_and_its_like_without_a_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "REST_S", 0.0)

    async def main() -> None:
        async with rig(tmp_path, keep_alive_s=NEVER_S) as by:
            server = await by.answered()
            monkeypatch.setattr(client_module, "REST_S", NEVER_S)
            for number in (2, 3):
                await by.ask()
                await by.read(server)
                server.send(OK)
                await by.until(ended=number, freed=number)
            assert by.seen.ended == [(1, "ok", False), (2, "ok", True), (3, "ok", True)]
            server.close()

    asyncio.run(main())


def test_an_end_that_the_loop_has_not_read_yet_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "REST_S", 0.0)

    async def main() -> None:
        async with rig(tmp_path, keep_alive_s=NEVER_S) as by:
            server = await by.answered()
            server.close()
            # Without a turn of the loop in between.
            await by.ask()
            again = await by.accept()
            assert not by.client.staying
            again.send(OK)
            await by.until(ended=2, freed=2)
            again.close()
            assert by.seen.ended == [(1, "ok", False), (2, "ok", False)]

    asyncio.run(main())


def test_a_race_that_remains_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "REST_S", 0.0)

    async def main() -> None:
        async with rig(tmp_path, keep_alive_s=NEVER_S) as by:
            server = await by.answered()
            await by.ask()
            await by.read(server)
            server.close()
            await by.until(ended=2, freed=1)
            assert by.seen.ended[1] == (2, "info", True)
            assert by.seen.reasons == [
                "a connection that was used before ended without a byte of the answer"
            ]
            # What was believed of this sort of answer is not believed any more.
            assert not by.client.staying

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "keep_alive_s", "kept_s"),
    [(OK, None, 0.5), (OK, 2.0, 1.6), (OK, 0.0, 0.0), (KEPT, None, 4.0), (KEPT, 60.0, 4.0)],
)
def test_idle_connections_end_before_the_server_ends_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    keep_alive_s: float | None,
    kept_s: float,
) -> None:
    monkeypatch.setattr(client_module, "REST_S", 0.0)

    async def main() -> None:
        async with rig(tmp_path, keep_alive_s=keep_alive_s) as by:
            await by.ask()
            server = await by.accept()
            before_s = time.monotonic()
            server.send(answer)
            await by.until(ended=1, freed=1)
            after_s = time.monotonic()
            if kept_s > 0:
                by.client.sweep(before_s + kept_s - 0.01)
                assert by.client.room() == 10
                with pytest.raises(BlockingIOError):
                    server.recv(1)
            by.client.sweep(after_s + kept_s)
            assert await asyncio.get_running_loop().sock_recv(server, 1) == b""
            server.close()

    asyncio.run(main())

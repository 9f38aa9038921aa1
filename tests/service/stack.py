"""A gateway with the processes behind it, and links between them that can be cut or made silent."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

from service.processes import BEHIND
from tests.service.running import Gateway, State, exchange_signed, free_port, running, until

NAMES = tuple(each.name for each in BEHIND)


class Link:
    """A TCP relay with one more mode than a wire: pass, cut (refuse and end), silent (accept, swallow)."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._silent = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port = free_port()
        self._run(self._listen())

    def cut(self) -> None:
        self._run(self._stop())

    def silence(self) -> None:
        self._silent = True

    def heal(self) -> None:
        """Pass again; what a silent link had swallowed is lost with its connections, as with Toxiproxy."""
        self._silent = False
        self._run(self._stop())
        self._run(self._listen())

    def close(self) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            above, below = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            self._writers.add(below)
            await asyncio.gather(self._pump(reader, below), self._pump(above, writer))
            self._writers.discard(below)
        self._writers.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not self._silent:
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()


class Stack(msgspec.Struct, frozen=True):
    """The running processes."""

    gateway: Gateway
    links: Mapping[str, Link]
    ports: Mapping[str, int]
    processes: Mapping[str, "subprocess.Popen[bytes]"]

    def dependency(self, name: str) -> str:
        """`up` or `down`, as the gateway says."""
        return str(self.gateway.call("GET", "/readyz").json["dependencies"][name])

    def await_up(self, *names: str) -> None:
        until(lambda: all(self.dependency(name) == "up" for name in names))

    def remember(self, text: str) -> None:
        """Store a memory directly in the memory process."""
        body = msgspec.json.encode({"text": text})
        answer = exchange_signed(
            self.gateway.state.signer("memory"),
            self.ports["memory"],
            "POST",
            "/internal/memories",
            body,
            {"Content-Type": "application/json"},
        )
        assert answer.status == 201


@contextmanager
def _process(name: str, port: int, state: State) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "run", name, "--state", str(state.directory.root)],
        env={**os.environ, f"SONIA_{name.upper()}_PORT": str(port)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


@contextmanager
def running_stack(state: State) -> Iterator[Stack]:
    """Start everything on `state`, wait until the gateway sees all of it, and end it afterwards."""
    with ExitStack() as ends:
        ports = {name: free_port() for name in NAMES}
        links: dict[str, Link] = {}
        for name in NAMES:
            links[name] = Link(ports[name])
            ends.callback(links[name].close)
        processes = {name: ends.enter_context(_process(name, ports[name], state)) for name in NAMES}
        urls = {
            f"SONIA_{name.upper()}_URL": f"http://127.0.0.1:{links[name].port}" for name in NAMES
        }
        stack = Stack(ends.enter_context(running(state, urls)), links, ports, processes)
        stack.await_up(*NAMES)
        yield stack

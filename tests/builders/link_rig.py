"""A real server behind a real Toxiproxy, with everything that watches the link between a client and it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from chaos.clock import RunClock
from chaos.evidence.recorder import Recorder
from chaos.evidence.schema import Fault, LinkBypass, LinkConnection, LinkFlow, LinkProbe, Mode, Row
from chaos.faults import SIGNATURES
from chaos.faults.base import FaultStep
from chaos.faults.window import FaultWindow, Instruments, Wire
from chaos.guard import Guard
from chaos.links.connections import ConnectionMonitor, Watched
from chaos.links.probe import Paths, Prober
from chaos.links.proxies import ToxiproxyServer
from chaos.links.toxiproxy_binary import cache_directory, locate
from chaos.ports import PortPool

R = TypeVar("R", bound=Row)

LINK = "client->server"
HOST = "127.0.0.1"

# As `http.server` would do it, which takes four times as long to be imported.
SERVER = """
import socketserver, sys

class Handler(socketserver.StreamRequestHandler):
    wbufsize = 65536

    def handle(self):
        while self.answered():
            pass

    def answered(self):
        words = self.rfile.readline().decode().split()
        if len(words) != 3:
            return False
        method, path, version = words
        headers = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        self.rfile.read(int(headers.get("content-length", 0)))
        body = b"x" * int(path.rpartition("/")[2] or 2)
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\n")
        if "chunked" in path:
            self.wfile.write(b"transfer-encoding: chunked\\r\\n\\r\\n")
            self.wfile.write(b"%x\\r\\n%b\\r\\n0\\r\\n\\r\\n" % (len(body), body))
        elif "until-close" in path:
            self.wfile.write(b"\\r\\n" + body)
        else:
            self.wfile.write(b"content-length: %d\\r\\n\\r\\n" % len(body))
            if method != "HEAD":
                self.wfile.write(body)
        self.wfile.flush()
        ends = version == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        return not ends and "until-close" not in path

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


@lru_cache
def toxiproxy() -> Path:
    """The real server's binary."""
    return Path(locate(os.environ, cache_directory(), print).path)


class Rig:
    """What a test works with."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.guard = Guard()
        self.clock = RunClock()
        self.recorder = Recorder(directory / "evidence", "run", "gate", [])
        self.ports = PortPool()
        self.server_port = self.ports.take()
        self.link_port = self.ports.take()
        self.server: asyncio.subprocess.Process
        self.proxies: ToxiproxyServer
        self.prober: Prober
        self.monitor: ConnectionMonitor
        self.named: dict[int, str] = {}

    @property
    def paths(self) -> Paths:
        return Paths(link=(HOST, self.link_port), direct=(HOST, self.server_port))

    async def spawn(self, argv: list[str], **streams: object) -> asyncio.subprocess.Process:
        return await self.guard.spawn(argv, **streams)

    async def serve(self, host: str = HOST) -> asyncio.subprocess.Process:
        process = await self.spawn(
            [sys.executable, "-S", "-c", SERVER, host, str(self.server_port)]
        )
        await accepting(self.server_port)
        return process

    async def start_proxies(self) -> None:
        self.proxies = await ToxiproxyServer.start(
            toxiproxy(),
            port=self.ports.take(),
            log=self.directory / "toxiproxy.log",
            spawn=self.spawn,
        )
        await self.proxies.add(LINK, (HOST, self.server_port), self.link_port)

    async def watch(self, *, of_harness: bool = False) -> None:
        self.monitor = await ConnectionMonitor.start(
            self.spawn,
            self.clock,
            log=self.proxies.log,
            proxy_pid=self.proxies.pid,
            marker=self.guard.marker,
            guard=self.guard.marker,
            links={
                LINK: Watched(port=self.server_port, listens=self.link_port, of_harness=of_harness)
            },
            processes=lambda: self.named,
        )

    def window(
        self,
        step: FaultStep,
        path: str = "/20",
        *,
        mode: Mode = "healthy",
        name: str = "fault",
        body: bytes = b"",
    ) -> FaultWindow:
        return FaultWindow(
            step,
            SIGNATURES[step.kind],
            name,
            self.paths,
            Wire(close=request(path, "close", body), keep_alive=request(path, "keep-alive", body)),
            Instruments(
                proxies=self.proxies,
                prober=self.prober,
                connections=self.monitor,
                recorder=self.recorder,
                clock=self.clock,
                mode=mode,
            ),
        )

    def rows(self, struct: type[R], table: str) -> list[R]:
        path = self.directory / "evidence" / f"{table}.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [msgspec.json.decode(line, type=struct) for line in lines]

    def faults(self) -> list[Fault]:
        return self.rows(Fault, "faults")

    def probes(self) -> list[LinkProbe]:
        return self.rows(LinkProbe, "link_probes")

    def bypasses(self) -> list[LinkBypass]:
        return self.rows(LinkBypass, "link_bypasses")

    def flows(self) -> list[LinkFlow]:
        return self.rows(LinkFlow, "link_flows")

    def connections(self) -> list[LinkConnection]:
        return self.rows(LinkConnection, "link_connections")


@asynccontextmanager
async def rig(directory: Path, *, watched: bool = True) -> AsyncIterator[Rig]:
    """Everything started; everything gone afterwards."""
    made = Rig(directory)
    try:
        made.server = await made.serve()
        await made.start_proxies()
        made.prober = await Prober.start(made.spawn, made.clock)
        if watched:
            await made.watch()
        yield made
    finally:
        for part in ("prober", "monitor", "proxies"):
            if hasattr(made, part):
                await getattr(made, part).stop()
        made.guard.close()
        made.ports.release()


def request(path: str, connection: str, body: bytes = b"") -> bytes:
    """A request of a probe as bytes."""
    head = f"GET {path} HTTP/1.1\r\nHost: server\r\nConnection: {connection}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def get(port: int, path: str = "/20", source: str = "127.0.0.1") -> bytes:
    """A client's request on a connection of its own; all that was answered."""
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(source, 0))
    writer.write(request(path, "close"))
    try:
        return await reader.read()
    finally:
        writer.close()


class Kept:
    """A client's connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        host, port = writer.get_extra_info("sockname")
        self.client = f"{host}:{port}"

    @classmethod
    async def open(cls, port: int, source: str = "127.0.0.1") -> Self:
        """Connected, with one request answered."""
        made = cls(*await asyncio.open_connection(HOST, port, local_addr=(source, 0)))
        await made.ask()
        return made

    async def ask(self) -> None:
        """One more request, and its answer."""
        self.writer.write(request("/20", "keep-alive"))
        await self.reader.readuntil(b"x" * 20)

    async def close(self) -> None:
        """End it."""
        self.writer.close()
        await self.writer.wait_closed()


async def accepting(port: int) -> None:
    """Wait until something listens on a port."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port, local_addr=("127.0.0.2", 0))
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, in bounded time."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that cannot be waited for otherwise."""
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


def is_stuck(port: int) -> bool:
    """Whether a connection of this local port has bytes that its other end does not take."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and int(fields[4].partition(":")[0], 16) > 0:
            return True
    return False


async def freeze(pid: int) -> None:
    """Stop a process and wait until each of its threads has: the first one has to be scheduled for it."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    await until(
        lambda: all(
            (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
            for task in tasks.iterdir()
        )
    )

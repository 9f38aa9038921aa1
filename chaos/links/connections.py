"""Who connects over a link, and who goes past it: Toxiproxy's log and the kernel's table, watched from outside."""

import datetime as dt
import itertools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Raw, Struct

from chaos.clock import RunClock
from chaos.errors import UNREADABLE
from chaos.evidence import schema
from chaos.evidence.recorder import Recorder
from chaos.links.probe.child import Child, Spawn

PROBE_SOURCE: Final = "127.0.0.2"
HARNESS_SOURCE: Final = "127.0.0.3"
_WATCH = "import sys; sys.path.insert(0, sys.argv[1]); from chaos.links.watch.watcher import main; main()"
_ANSWER_WITHIN_S: Final = 10.0
_MOST_FLOWS: Final = 100


class Watched(Struct, frozen=True, kw_only=True):
    """A link: the ports of its server and of its proxy, and whether its client is the harness, no process of the target."""

    port: int
    listens: int
    of_harness: bool


class _Passed(Struct, frozen=True):
    port: int
    client: str
    pids: list[int]
    command: str
    ms: float


class _News(Struct, frozen=True):
    accepted: list[tuple[str, str, float, float]] = []
    passed: list[_Passed] = []


class _Line(Struct, frozen=True):
    """A line of Toxiproxy's log, as far as it matters here."""

    message: str = ""
    name: str = ""
    client: str = ""
    time: dt.datetime | None = None


class Connection(Struct, frozen=True):
    """One client that Toxiproxy accepted: after its log was read the time before, and before it was read at `connected_ms`."""

    link: str
    client: str
    own: bool
    connected_ms: float
    accepted_after_ms: float | None


class Flow(Struct, frozen=True, array_like=True):
    """What a connection of a link's own traffic did from one look at it to another; see `chaos.evidence.schema.LinkFlow`."""

    client: str
    sent_bytes: int
    received_bytes: int
    ended: bool
    flow_from_ms: float
    flow_to_ms: float


class Bypass(Struct, frozen=True):
    """A connection past a link's proxy; `process` names whose it is where that could be seen."""

    link: str
    client: str
    process: str | None
    bypass_ms: float


def _moved(flow: Flow) -> tuple[bool, int]:
    return flow.ended, flow.sent_bytes + flow.received_bytes


def is_own(client: str, *, of_harness: bool) -> bool:
    """Whether a client is a link's own traffic, by its source address.

    Probes never are. What the harness sends itself is own traffic only where the harness is the link's client.
    """
    address = client.rpartition(":")[0]
    return address != PROBE_SOURCE and (of_harness or address != HARNESS_SOURCE)


class ConnectionMonitor:
    """A process of its own that reads Toxiproxy's log and looks for connections that are not in it.

    What it reports is kept here until `record` writes it. `own_before_now` and `finish` may raise ProbeError.
    """

    def __init__(
        self, links: Mapping[str, Watched], processes: Callable[[], Mapping[int, str]]
    ) -> None:
        self._links = links
        self._processes = processes
        self._child: Child | None = None
        self._keys = itertools.count(1)
        self.connections: list[Connection] = []
        self.bypasses: list[Bypass] = []

    @classmethod
    async def start(
        cls,
        spawn: Spawn,
        clock: RunClock,
        *,
        log: Path,
        proxy_pid: int,
        marker: str,
        guard: str,
        links: Mapping[str, Watched],
        processes: Callable[[], Mapping[int, str]],
    ) -> Self:
        """Start watching; best before any process of the target runs.

        `log` and `proxy_pid` are Toxiproxy's; `marker` is in the environment of every process of the stack,
        `guard` in that of all that this process starts;
        `processes` gives the names of the target's processes by pid.
        """
        monitor = cls(links, processes)
        argv = [sys.executable, "-I", "-S", "-c", _WATCH, str(Path(__file__).parents[2])]
        monitor._child = await Child.start(spawn, argv, "watching process", monitor._take)
        config = {
            "origin_s": clock.origin_s,
            "log": str(log),
            "proxy_pid": proxy_pid,
            "marker": marker,
            "adopter": os.getpid(),
            "guard": guard,
            "links": {name: link.port for name, link in links.items()},
            "listens": {name: link.listens for name, link in links.items()},
            # On a link of the harness it is the harness that decides which way it goes.
            "ports": sorted({link.port for link in links.values() if not link.of_harness}),
            "past": [PROBE_SOURCE, HARNESS_SOURCE],
        }
        await monitor._child.ask({"do": "sync", "config": config}, _ANSWER_WITHIN_S)
        return monitor

    async def own_before_now(self, link: str) -> int:
        """How many connections of the link's own traffic were accepted until now."""
        await self._ask("sync")
        return sum(connection.own for connection in self.connections if connection.link == link)

    async def follow(self, link: str) -> str:
        """Look at the connections of a link from now on; returns the key to ask for them by."""
        key = str(next(self._keys))
        await self._ask("follow", link=link, key=key)
        return key

    async def flows(self, link: str, key: str, *, over: bool) -> list[Flow] | None:
        """What the link's own connections did since they were followed, or since this was asked last; None if nobody can tell."""
        told = await self._ask("flows", key=key, over=over)
        found = msgspec.json.decode(told, type=list[Flow] | None)
        if found is None:
            return None
        of_harness = self._links[link].of_harness
        own = [flow for flow in found if is_own(flow.client, of_harness=of_harness)]
        return sorted(own, key=_moved, reverse=True)[:_MOST_FLOWS]

    async def finish(self) -> None:
        """Look a last time and settle what is still open. Best after the target's processes have ended."""
        await self._ask("finish")

    async def stop(self) -> None:
        """End the process."""
        if self._child is not None:
            await self._child.stop()

    def record(self, recorder: Recorder) -> None:
        """Write everything that was seen as evidence, and forget it."""
        for connection in self.connections:
            recorder.add(schema.LinkConnection, **msgspec.structs.asdict(connection))
        for bypass in self.bypasses:
            recorder.add(schema.LinkBypass, **msgspec.structs.asdict(bypass))
        self.connections.clear()
        self.bypasses.clear()

    async def _ask(self, what: str, **more: object) -> Raw:
        assert self._child is not None
        return await self._child.ask({"do": what, **more}, _ANSWER_WITHIN_S)

    def _take(self, content: Raw) -> None:
        news = msgspec.json.decode(content, type=_News)
        for link, client, after_ms, at_ms in news.accepted:
            own = is_own(client, of_harness=self._links[link].of_harness)
            self.connections.append(Connection(link, client, own, at_ms, after_ms))
        for passed in news.passed:
            process = self._name(passed)
            for link in links_past(self._links, passed.port, process):
                self.bypasses.append(Bypass(link, passed.client, process, passed.ms))

    def _name(self, passed: _Passed) -> str | None:
        names = self._processes()
        known = [names[pid] for pid in passed.pids if pid in names]
        return known[0] if known else passed.command or None


def links_past(links: Mapping[str, Watched], port: int, process: str | None) -> list[str]:
    """The links that a connection to `port` went past: those of the process, or every one to that port."""
    there = [name for name, link in links.items() if link.port == port and not link.of_harness]
    of_process = [name for name in there if name.partition("->")[0] == process]
    return of_process or there


def connections_from(log: bytes, links: Mapping[str, Watched], clock: RunClock) -> list[Connection]:
    """Accepted clients by the log alone, which knows whole seconds only: for stacks that were not watched."""
    found = []
    for line in log.splitlines():
        try:
            entry = msgspec.json.decode(line, type=_Line)
        except UNREADABLE:
            continue
        link = links.get(entry.name)
        if entry.message != "Accepted client" or link is None or entry.time is None:
            continue
        connected_ms = clock.from_wall_ms(entry.time.timestamp() * 1000)
        own = is_own(entry.client, of_harness=link.of_harness)
        found.append(Connection(entry.name, entry.client, own, connected_ms, None))
    return found

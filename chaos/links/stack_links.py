"""The links of a started target: their proxies, who probes them and who watches them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from chaos import regular
from chaos.clock import RunClock
from chaos.errors import HarnessError
from chaos.evidence.recorder import Recorder
from chaos.evidence.schema import Link, LinkConnection
from chaos.links.connections import ConnectionMonitor, Watched, connections_from
from chaos.links.probe import Prober
from chaos.links.proxies import ToxiproxyServer, Traffic
from chaos.spec.target import Target
from chaos.spec.variables import Variables

Spawn = Callable[..., Awaitable[asyncio.subprocess.Process]]
STOP_WITHIN_S = 10.0
_COUNTED_WITHIN_S = 2.0
_LOOK_EVERY_S = 0.01


class _Stops(Protocol):
    async def stop(self) -> None: ...


class Links:
    """Toxiproxy with one proxy per link and, where faults are put on them, the processes that prove it."""

    def __init__(self, target: Target, log: Path) -> None:
        self.target = target
        self.log = log
        self.ports: dict[str, int] = {}
        self._watched: dict[str, Watched] = {}
        self._proxies: ToxiproxyServer | None = None
        self._prober: Prober | None = None
        self._monitor: ConnectionMonitor | None = None

    @property
    def proxies(self) -> ToxiproxyServer:
        """The Toxiproxy of this stack."""
        if self._proxies is None:
            raise HarnessError(f"target {self.target.target} has no links, so it has no Toxiproxy")
        return self._proxies

    @property
    def prober(self) -> Prober:
        """The process that probes links."""
        if self._prober is None:
            raise HarnessError("nothing probes the links: no step of this gate faults one")
        return self._prober

    @property
    def connections(self) -> ConnectionMonitor:
        """Who watches for connections, over links and past them."""
        if self._monitor is None:
            raise HarnessError("nothing watches the links: no step of this gate faults one")
        return self._monitor

    def environment(self, process: str, host: str) -> dict[str, str]:
        """Where a process is to connect to instead of its servers themselves."""
        found = {}
        for name, link in self.target.links.items():
            if link.env is not None and name.partition("->")[0] == process:
                address = Variables({"host": host, "port": self.ports[name]})
                found[link.env] = address.text(link.env_value)
        return found

    async def start(
        self,
        binary: Path,
        *,
        api_port: int,
        spawn: Spawn,
        host: str,
        server_ports: Mapping[str, int],
    ) -> None:
        """Start Toxiproxy with a proxy on the port of every link, in front of its server's own port."""
        self._proxies = await ToxiproxyServer.start(
            binary, port=api_port, log=self.log, spawn=spawn
        )
        for name, link in self.target.links.items():
            await self._proxies.add(name, (host, server_ports[link.to]), self.ports[name])
            of_harness = name.partition("->")[0] not in self.target.processes
            self._watched[name] = Watched(
                port=server_ports[link.to], listens=self.ports[name], of_harness=of_harness
            )

    async def start_probing(
        self,
        *,
        spawn: Spawn,
        clock: RunClock,
        marker: str,
        guard: str,
        processes: Callable[[], Mapping[int, str]],
    ) -> None:
        """Start what proves faults, before any process of the target runs."""
        self._prober = await Prober.start(spawn, clock)
        self._monitor = await ConnectionMonitor.start(
            spawn,
            clock,
            log=self.log,
            proxy_pid=self.proxies.pid,
            marker=marker,
            guard=guard,
            links=self._watched,
            processes=processes,
        )

    def check(self) -> None:
        """HarnessError when Toxiproxy is not what it was at the start: what was seen since proves nothing."""
        if self._proxies is not None:
            self._proxies.check()

    async def record_connections(self, recorder: Recorder, clock: RunClock) -> None:
        """Write who connected over the links, and who past them; best after all processes have ended."""
        if self._monitor is not None:
            await self._monitor.finish()
            self._monitor.record(recorder)
        elif self._proxies is not None:
            for connection in connections_from(regular.read(self.log), self._watched, clock):
                recorder.add(LinkConnection, **msgspec.structs.asdict(connection))

    async def record_traffic(self, recorder: Recorder) -> None:
        """Write what every link has carried until now. Best after the target's processes have ended."""
        own = {name: await self.connections.own_before_now(name) for name in self._watched}
        traffic = await self._counted([name for name, accepted in own.items() if accepted])
        for name, watched in self._watched.items():
            carried = traffic.get(name, Traffic(0, 0))
            recorder.add(
                Link,
                link=name,
                own_connections=own[name],
                of_harness=watched.of_harness,
                sent_bytes=carried.sent_bytes,
                received_bytes=carried.received_bytes,
            )

    async def _counted(self, used: Sequence[str]) -> dict[str, Traffic]:
        """The bytes of all links, once those of the `used` ones are counted: a moment after a connection's end."""
        ends = asyncio.get_running_loop().time() + _COUNTED_WITHIN_S
        while True:
            traffic = await self.proxies.traffic()
            missing = [name for name in used if not traffic.get(name, Traffic(0, 0)).bytes]
            if not missing or asyncio.get_running_loop().time() > ends:
                return traffic
            await asyncio.sleep(_LOOK_EVERY_S)

    async def stop(self) -> None:
        """End all of it. Never raises: what does not end is killed with its stack."""
        parts: tuple[_Stops | None, ...] = (self._prober, self._monitor, self._proxies)
        for part in parts:
            if part is not None:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(part.stop(), STOP_WITHIN_S)

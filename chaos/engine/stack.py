"""A started target: its processes, the proxies on its links and the state directory they share."""

import asyncio
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from chaos.clock import RunClock
from chaos.connections import ConnectionMonitor, Watched, connections_from
from chaos.engine.files import marked_processes, merged
from chaos.engine.life import Life
from chaos.engine.plan import Plan
from chaos.errors import HarnessError, TargetError
from chaos.evidence.recorder import Recorder
from chaos.evidence.schema import Link, LinkConnection
from chaos.guard import Guard, end_process
from chaos.http import build_request, send_once
from chaos.ports import PortPool
from chaos.probe import Prober
from chaos.proxies import ToxiproxyServer
from chaos.spec.target import Prepare, Target
from chaos.spec.variables import Variables, pick

HOST = "127.0.0.1"
PROBE_SOURCE = "127.0.0.2"
HARNESS_SOURCE = "127.0.0.3"
STACK_MARKER = "CHAOS_STACK"


class Stack:
    """One target in a fresh state directory on ports of its own; an async context manager."""

    host = HOST

    def __init__(self, plan: Plan, guard: Guard, recorder: Recorder, clock: RunClock) -> None:
        self.target: Target = plan.target
        self.plan = plan
        self.guard = guard
        self.recorder = recorder
        self.clock = clock
        self.directory = Path(tempfile.mkdtemp(prefix=f"chaos-{plan.gate}-"))
        self.state = self.directory / "state"
        self.state.mkdir()
        self.logs = self.directory / "logs"
        self.logs.mkdir()
        self.marker = f"{STACK_MARKER}={plan.run_id}.{plan.gate}"
        self.lives: dict[str, Life] = {}
        self.variables = Variables()
        self._pool = PortPool()
        self._ports: dict[str, int] = {}
        self._link_ports: dict[str, int] = {}
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
            raise HarnessError(
                "the prober was not started: no step of this gate puts a fault on a link"
            )
        return self._prober

    @property
    def connections(self) -> ConnectionMonitor:
        """Who watches for connections, over links and past them."""
        if self._monitor is None:
            raise HarnessError("nothing watches the links: no step of this gate puts a fault on one")
        return self._monitor

    def port(self, process: str) -> int:
        """The port that `process` itself listens on."""
        return self._ports[process]

    def link_port(self, link: str) -> int:
        """The port of the proxy of `link`."""
        return self._link_ports[link]

    async def start(self, *, probing: bool) -> None:
        """Allot ports, prepare, start Toxiproxy and every needed process, and await readiness."""
        self._allot_ports()
        self.variables = self._builtin_variables()
        for prepare in self.target.prepare:
            await self._prepare(prepare)
        for actor in self.target.actors.values():
            if actor.bearer is not None:
                self.recorder.keep_secret(self.variables.text(actor.bearer))
        self.configure(self.plan.config)
        await self._start_proxies(probing)
        await asyncio.gather(*(self.launch(name) for name in self.plan.needs))
        await asyncio.gather(*(self.await_ready(name) for name in self.plan.needs))

    def configure(self, changes: Mapping[str, object]) -> None:
        """Merge `changes` into the target's configuration file."""
        if not changes:
            return
        if self.target.config is None:
            raise TargetError(
                f"target {self.target.target} names no `config` file that could be changed"
            )
        path = Path(self.variables.text(self.target.config))
        base = yaml.safe_load(path.read_text()) if path.exists() else {}
        path.write_text(yaml.safe_dump(merged(base, changes)))

    async def launch(self, name: str, env: Mapping[str, str] | None = None) -> Life:
        """Start a process without waiting for it to be ready."""
        if name in self.lives and self.lives[name].alive:
            raise HarnessError(f"{name} is running already: kill it before it is started again")
        spec = self.target.processes[name]
        argv = shlex.split(self.variables.text(spec.run))
        extra = {key: self.variables.text(value) for key, value in spec.env.items()} | dict(
            env or {}
        )
        log = self.logs / f"{name}.{sum(1 for _ in self.logs.glob(f'{name}.*'))}.log"
        with log.open("wb") as output:
            started_ms = self.clock.now_ms()
            process = await self.guard.spawn(
                argv,
                env=self._environment(name, extra),
                stdout=output,
                stderr=output,
                cwd=self.plan.source_root,
            )
        life = Life(name, process, started_ms, log, argv)
        self.lives[name] = life
        return life

    async def await_ready(self, name: str) -> None:
        """Wait until the process answers as its spec says; TargetError with its last output otherwise."""
        life, spec = self.lives[name], self.target.processes[name]
        deadline_ms = self.clock.now_ms() + spec.ready_within.ms
        while not await self.is_ready(name):
            if not life.alive:
                raise TargetError(
                    f"{name} exited with {life.exit} before it was ready:\n{self._tail(life)}"
                )
            if self.clock.now_ms() > deadline_ms:
                raise TargetError(
                    f"{name} was not ready within {spec.ready_within}:\n{self._tail(life)}"
                )
            await asyncio.sleep(0.01)
        life.ready_ms = self.clock.now_ms()

    async def is_ready(self, name: str) -> bool:
        """One look at the process's own port."""
        ready, port = self.target.processes[name].ready, self.port(name)
        if ready == "tcp":
            return await accepts(HOST, port)
        path = ready.removeprefix("GET ").strip()
        request = build_request("GET", path, f"{HOST}:{port}", {"Connection": "close"}, b"")
        answer = await send_once(HOST, port, request, source=PROBE_SOURCE, timeout_s=1.0)
        return answer.status is not None and 200 <= answer.status < 300

    async def signal(self, name: str, number: int) -> None:
        """Send a signal to the process itself, not to its children; waits for its end if it must end."""
        life = self.lives.get(name)
        if life is None or not life.alive:
            raise HarnessError(f"{name} is not running, so it cannot be sent a signal")
        life.process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            life.ended_by = "kill"
            try:
                await asyncio.wait_for(
                    life.process.wait(), self.target.processes[name].stop_within.s
                )
            except TimeoutError as error:
                raise HarnessError(
                    f"{name} did not end within its stop_within after signal {number}"
                ) from error
            self.record_life(life)

    async def spawn(self, argv: list[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
        """Start a command beside the processes, with pipes for its input and output."""
        try:
            return await self.guard.spawn(
                argv,
                env=self._environment(None, env),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=self.plan.source_root,
            )
        except OSError as error:
            raise HarnessError(f"cannot run {argv[0]!r}: {error.strerror}") from error

    def record_life(self, life: Life) -> None:
        """Write the row of a process that has ended, once."""
        life.record(self.recorder, self.clock)

    async def stop_processes(self) -> None:
        """End every process, records and children included. Never raises."""
        for life in self.lives.values():
            if life.alive:
                life.ended_by = "teardown"
        await asyncio.gather(
            *(
                end_process(life.process, self.target.processes[life.name].stop_within.s)
                for life in self.lives.values()
            ),
            return_exceptions=True,
        )
        for life in self.lives.values():
            self.record_life(life)

    async def record_connections(self) -> None:
        """Write who connected over the links, and who went past them; best after all processes have ended."""
        if self._monitor is not None:
            await self._monitor.finish()
            self._monitor.record(self.recorder)
        elif self._proxies is not None:
            log = self.proxy_log.read_bytes()
            for connection in connections_from(log, self._watched(), self.clock):
                self.recorder.add(LinkConnection, **msgspec.structs.asdict(connection))

    async def record_traffic(self) -> None:
        """Write what every link has carried until now; Toxiproxy counts a connection when it closes."""
        traffic = await self.proxies.traffic()
        for link, watched in self._watched().items():
            carried = traffic.get(link)
            own = await self.connections.own_before_now(link)
            self.recorder.add(
                Link,
                link=link,
                own_connections=own,
                of_harness=watched.of_harness,
                sent_bytes=carried.sent_bytes if carried is not None else 0,
                received_bytes=carried.received_bytes if carried is not None else 0,
            )

    async def stop(self) -> None:
        """End Toxiproxy and the prober, and whatever else carries this stack's marker. Never raises."""
        for part in (self._prober, self._monitor, self._proxies):
            if part is not None:
                try:
                    await asyncio.wait_for(part.stop(), 10)
                except Exception:  # noqa: BLE001, S110 - teardown must never lose evidence; the sweep below ends it
                    pass
        for pid in marked_processes(self.marker):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._pool.release()

    @property
    def proxy_log(self) -> Path:
        """Toxiproxy's own log."""
        return self.logs / "toxiproxy.log"

    def _allot_ports(self) -> None:
        for name, process in self.target.processes.items():
            self._ports[name] = self._pool.take()
            if self.plan.nominal_ports and not any(
                link.to == name for link in self.target.links.values()
            ):
                self._ports[name] = self._pool.take_exactly(process.port)
        for link, spec in self.target.links.items():
            # With nominal ports it is the proxy that gets the nominal one: a by-pass then finds nothing there.
            nominal = self.target.processes[spec.to].port
            self._link_ports[link] = (
                self._pool.take_exactly(nominal) if self.plan.nominal_ports else self._pool.take()
            )

    def _builtin_variables(self) -> Variables:
        values: dict[str, object] = {
            "python": shlex.quote(sys.executable),
            "state": str(self.state),
            "root": str(self.plan.source_root),
            "host": HOST,
            "seed": self.plan.seed,
        }
        values |= {f"port.{name}": port for name, port in self._ports.items()}
        values |= {f"url.{name}": f"http://{HOST}:{port}" for name, port in self._ports.items()}
        return Variables(values)

    async def _prepare(self, prepare: Prepare) -> None:
        argv = shlex.split(self.variables.text(prepare.run))
        process = await self.spawn(argv, {})
        try:
            output, errors = await asyncio.wait_for(process.communicate(b""), prepare.within.s)
        except TimeoutError as error:
            await end_process(process, 1.0)
            raise TargetError(f"`{prepare.run}` did not end within {prepare.within}") from error
        if process.returncode != 0:
            text = errors.decode(errors="replace")[-2000:]
            raise TargetError(f"`{prepare.run}` exited with {process.returncode}:\n{text}")
        if prepare.capture:
            self._capture(prepare, output)

    def _capture(self, prepare: Prepare, output: bytes) -> None:
        try:
            document = msgspec.json.decode(output)
            for name, place in prepare.capture.items():
                value = pick(document, place)
                self.variables.set(name, value)
                if is_secret(name):
                    self.recorder.keep_secret(str(value))
        except (msgspec.DecodeError, KeyError, ValueError) as error:
            raise TargetError(
                f"cannot capture from the output of `{prepare.run}`: {error}"
            ) from error

    async def _start_proxies(self, probing: bool) -> None:
        if not self.target.links or self.plan.toxiproxy is None:
            return
        self._proxies = await ToxiproxyServer.start(
            self.plan.toxiproxy, port=self._pool.take(), log=self.proxy_log, spawn=self._spawn_tool
        )
        for link, spec in self.target.links.items():
            await self._proxies.add(link, (HOST, self.port(spec.to)), self._link_ports[link])
        if probing:
            self._prober = await Prober.start(self._spawn_tool, self.clock)
            self._monitor = await ConnectionMonitor.start(
                self._spawn_tool,
                self.clock,
                log=self.proxy_log,
                proxy_pid=self._proxies.pid,
                marker=self.marker,
                links=self._watched(),
                processes=lambda: {life.process.pid: life.name for life in self.lives.values()},
            )

    def _watched(self) -> dict[str, Watched]:
        return {
            link: Watched(port=self.port(spec.to), of_harness=link.partition("->")[0] not in self.target.processes)
            for link, spec in self.target.links.items()
        }

    async def _spawn_tool(self, argv: list[str], **streams: object) -> asyncio.subprocess.Process:
        """Start a process of the harness's own beside the target."""
        return await self.guard.spawn(argv, env=self._environment(None, {}), **streams)  # type: ignore[arg-type]

    def _environment(self, process: str | None, extra: Mapping[str, str]) -> dict[str, str]:
        name, _, value = self.marker.partition("=")
        environment = {**os.environ, name: value, "PYTHONDONTWRITEBYTECODE": "1"}
        for link, spec in self.target.links.items():
            if process is not None and spec.env is not None and link.partition("->")[0] == process:
                host, port = HOST, str(self._link_ports[link])
                environment[spec.env] = spec.env_value.replace("{host}", host).replace(
                    "{port}", port
                )
        return environment | dict(extra)

    def _tail(self, life: Life, most_chars: int = 1500) -> str:
        return (
            self.recorder.redact(life.log.read_bytes()[-most_chars:])
            .decode(errors="replace")
            .strip()
        )


def is_secret(name: str) -> bool:
    """Whether a captured variable is a secret by its name: `token.…` and `secret.…` are."""
    return name.partition(".")[0] in ("token", "secret")


async def accepts(host: str, port: int) -> bool:
    """Whether a TCP connection is accepted right now."""
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(host, port, local_addr=(PROBE_SOURCE, 0)), timeout=1.0
        )
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True

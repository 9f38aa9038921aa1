"""A started target: its processes, the proxies on its links and the state directory they share."""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml

from chaos import regular
from chaos.clock import RunClock
from chaos.engine import commands, ending
from chaos.engine.environment import clean
from chaos.engine.files import merged
from chaos.engine.inner import Inner
from chaos.engine.life import Life
from chaos.engine.lives import ENDING, HOST, Lives, children_of
from chaos.engine.output import Output, communicate
from chaos.engine.paths import Places
from chaos.engine.plan import Plan
from chaos.engine.procfs import Listener, answering
from chaos.engine.ready import described, elsewhere, listens, strangers, unready
from chaos.errors import UNREADABLE, HarnessError, TargetError, told
from chaos.evidence import schema
from chaos.evidence.recorder import Recorder
from chaos.guard import Guard, end_process
from chaos.links.connections import ConnectionMonitor
from chaos.links.probe import Prober
from chaos.links.proxies import ToxiproxyServer
from chaos.links.stack_links import Links
from chaos.ports import PortPool
from chaos.shims.disk import Disk
from chaos.spec import yaml12
from chaos.spec.target import Prepare, Target
from chaos.spec.units import Duration
from chaos.spec.variables import UnknownVariable, Variables, pick
from chaos.trees import Seen, Table, Tree, now_ticks, table

HARNESS_SOURCE: Final = "127.0.0.3"
STACK_MARKER: Final = "CHAOS_STACK"
LIFE_MARKER: Final = "CHAOS_LIFE"
TOOL_MARKER: Final = "CHAOS_TOOL"
PYTHONPATH: Final = "PYTHONPATH"
READY_LOOK_S: Final = 0.01
TAIL_BYTES: Final = 1500


class Stack:
    """One target in a fresh state directory on ports of its own."""

    host = HOST

    def __init__(self, plan: Plan, guard: Guard, recorder: Recorder, clock: RunClock) -> None:
        self.target: Target = plan.target
        self.plan = plan
        self.guard = guard
        self.recorder = recorder
        self.clock = clock
        # What is to be kept must not go with the guard.
        parent = None if plan.keep else guard.directory
        self.directory = Path(tempfile.mkdtemp(prefix=f"chaos-{plan.gate}-", dir=parent))
        self.state = self.directory / "state"
        self.state.mkdir()
        self.places = Places(self.state.resolve(), plan.source_root.resolve())
        self.logs = self.directory / "logs"
        self.logs.mkdir()
        # Whatever carries them is killed at the end: no other stack may have the same.
        self.marker = f"{STACK_MARKER}={secrets.token_hex(8)}"
        self.tool_marker = f"{TOOL_MARKER}={secrets.token_hex(8)}"
        self._left: list[tuple[str, Listener, int]] = []
        self._since = now_ticks()
        self.variables = Variables()
        self.links = Links(plan.target, self.logs / "toxiproxy.log")
        self._pool = PortPool()
        self._ports: dict[str, int] = {}
        self._lives = Lives(guard, plan.target.processes, self._ports)
        self._inner = Inner(
            self._lives, plan.target.processes, self._ports, self.record_life, lambda: self.clock
        )
        self._starts = 0
        # Of each process that was started with `disk`, the latest last.
        self.disks: dict[str, list[Disk]] = {}

    @property
    def lives(self) -> Mapping[str, Life]:
        """The latest life of every process that was started."""
        return self._lives.latest

    @property
    def proxies(self) -> ToxiproxyServer:
        """The Toxiproxy of this stack; HarnessError when the target has no links."""
        return self.links.proxies

    @property
    def prober(self) -> Prober:
        """The process that probes links; HarnessError when none is faulted."""
        return self.links.prober

    @property
    def connections(self) -> ConnectionMonitor:
        """Who watches for connections, over links and past them; HarnessError when none is faulted."""
        return self.links.connections

    def port(self, process: str) -> int:
        """The port that `process` itself listens on."""
        if process not in self._ports:
            raise HarnessError(f"target {self.target.target} has no process {process!r}")
        return self._ports[process]

    def link_port(self, link: str) -> int:
        """The port of the proxy of `link`."""
        if link not in self.links.ports:
            raise HarnessError(f"target {self.target.target} has no link {link!r}")
        return self.links.ports[link]

    async def start(self, *, probing: bool) -> None:
        """Allot ports, prepare, start Toxiproxy and every needed process, and await readiness."""
        self._allot_ports()
        self.variables = self._builtin_variables()
        try:
            for prepare in self.target.prepare:
                await self._prepare(prepare)
            for name, actor in self.target.actors.items():
                if actor.bearer is not None:
                    self.recorder.keep_secret(self.variables.text(actor.bearer), name)
            config = self.plan.config.items()
            self.configure({key: self.variables.fill(value) for key, value in config})
            await self._start_links(probing)
            started = [n for n in self.plan.needs if self.target.processes[n].child_of is None]
            await _all([self.launch(name) for name in started])
            self._inner.begin()
            await _all([self.await_ready(name) for name in self.plan.needs])
            found = table()
            for life in self.lives.values():
                self.members(life, found)
        except UnknownVariable as error:
            message = f"target {self.target.target} uses {error.args[0]!r}, which nothing has set"
            raise TargetError(message) from error

    def configure(self, changes: Mapping[str, object]) -> None:
        """Merge `changes` into the target's configuration file."""
        if not changes:
            return
        if self.target.config is None:
            raise TargetError(
                f"target {self.target.target} names no `config` file that could be changed"
            )
        path = self.places.written(self.variables.text(self.target.config))
        try:
            base = yaml12.load(regular.read(path).decode()) if path.exists() else {}
            path.write_text(yaml12.dump(merged(base, changes)), encoding="utf-8")
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise TargetError(f"{path.name} cannot be changed: {told(error)}") from error

    async def launch(self, name: str, env: Mapping[str, str] | None = None) -> Life:
        """Start a process without waiting for it to be ready."""
        spec = self.target.processes[name]
        if spec.child_of is not None:
            raise HarnessError(f"{name} is started by {spec.child_of}, and by nobody else")
        earlier = self.lives.get(name)
        if earlier is not None:
            if earlier.alive:
                raise HarnessError(f"{name} is running already: kill it before it is started again")
            self.record_life(earlier)
        argv = self.argv(spec.run)
        own = self.variables.texts(spec.env)
        mark = f"{LIFE_MARKER}={secrets.token_hex(8)}"
        # What it starts in its turn knows of its links from nobody else.
        family = [name, *children_of(name, self.target.processes)]
        links = [self.links.environment(one, HOST) for one in family]
        environment = self._environment(*links, own, env or {})
        environment[LIFE_MARKER] = mark.partition("=")[2]
        log = self.logs / f"{self._starts:03}.{name}.log"
        self._starts += 1
        with log.open("wb") as output:
            started_ms, since = self.clock.now_ms(), now_ticks()
            try:
                process = await self.guard.spawn(
                    argv,
                    env=environment,
                    stdout=output,
                    stderr=output,
                    cwd=self.plan.source_root,
                )
            except OSError as error:
                raise TargetError(f"cannot run {argv[0]!r}: {error.strerror}") from error
        tree = Tree(process.pid, mark.encode(), since)
        life = Life(name, process, tree, started_ms, log, argv, env or {})
        self._lives.add(life)
        return life

    async def await_ready(self, name: str, within: Duration | None = None) -> None:
        """Wait until the process answers as its spec says; TargetError with its last output otherwise."""
        within = within or self.target.processes[name].ready_within
        deadline_ms = self.clock.now_ms() + within.ms
        if self.target.processes[name].child_of is not None:
            await self._await_child(name, within, deadline_ms)
            return
        life = self.lives[name]
        # Who answers on the port of a process that has ended is somebody else.
        while (seen := await self._unready(life)) is not None or not life.alive:
            if not life.alive:
                raise TargetError(
                    f"{name} exited with {life.exit} before it was ready:\n{self._tail(life)}"
                )
            if self.clock.now_ms() > deadline_ms:
                raise TargetError(
                    f"{name} was not ready within {within}{self._instead(life, seen)}:\n{self._tail(life)}"
                )
            await asyncio.sleep(READY_LOOK_S)
        life.ready_ms = self.clock.now_ms()

    async def _await_child(self, name: str, within: Duration, deadline_ms: float) -> None:
        """Wait until some life of a process that another one starts is ready; TargetError otherwise."""
        while (life := self.lives.get(name)) is None or life.ready_ms is None or not life.alive:
            if self.clock.now_ms() > deadline_ms:
                parent = self.lives[self.target.processes[name].child_of or ""]
                raise TargetError(
                    f"{name} was not ready within {within}: nothing that {parent.name} started answers on"
                    f" {HOST}:{self.port(name)}:\n{self._tail(parent)}"
                )
            await asyncio.sleep(READY_LOOK_S)

    async def _unready(self, life: Life) -> str | None:
        """One look at a process's own port: None when it is this life of it that answers, else what was seen."""
        port = self.port(life.name)
        seen = await unready(self.target.processes[life.name].ready, HOST, port)
        # Mostly it is the very process that was started who listens, and nobody else is to be looked for.
        if seen is not None or listens(life.process.pid, HOST, port):
            return seen
        return "somebody else answers" if strangers(self.members(life), HOST, port) else None

    def _instead(self, life: Life, seen: str | None) -> str:
        """What was seen of a process that is not ready, in parentheses; nothing where nobody listens at all."""
        port, members = self.port(life.name), self.members(life)
        if others := strangers(members, HOST, port):
            return f" ({described(others)} answers on {HOST}:{port}, which is no process of this start)"
        if answering(HOST, port):
            return f" ({seen})"
        places = elsewhere(members)
        return f" (it listens on {places} and not on {HOST}:{port})" if places else ""

    def members(self, life: Life, found: Table | None = None) -> dict[int, Seen]:
        """All of a life that has not ended, whatever became of the process that was started."""
        return self._lives.members(life, found)

    async def signal(self, name: str, number: int, *, alone: bool = False) -> None:
        """Send a signal to all of a process, or to that alone which was started; waits for the end if it must end.

        HarnessError when it is not running, when something of it does not end, and when its port goes on to listen.
        """
        self.look()
        life = self.lives.get(name)
        if life is None or not life.alive or not self._lives.send(life, number, alone=alone):
            raise HarnessError(f"{name} is not running, so it cannot be sent a signal")
        if number not in ENDING:
            return
        await self._lives.await_end(life, number, alone=alone)
        self.record_life(life)
        if not alone:
            await self._lives.await_refusal(life)

    def look(self) -> None:
        """See which processes others have started since the last look."""
        self._inner.look()

    async def kill(self, life: Life) -> list[int]:
        """SIGKILL to all of a life until nothing is left; returns what could not be killed."""
        return await self._lives.kill(life)

    def argv(self, command: str, variables: Variables | None = None) -> list[str]:
        """A command as a list of arguments; what a variable holds never becomes two of them."""
        return commands.argv(command, self.variables if variables is None else variables)

    async def spawn(self, argv: list[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
        """Start a command beside the processes, with pipes for its input and output."""
        try:
            return await self.guard.spawn(
                argv,
                env=self._environment(env),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=self.plan.source_root,
            )
        except OSError as error:
            raise HarnessError(f"cannot run {argv[0]!r}: {error.strerror}") from error

    def watch_disk(self, name: str, database: Path) -> Disk:
        """What a process that is about to be started will do to a database; the files are as they are now."""
        of_it = self.disks.setdefault(name, [])
        of_it.append(Disk(database, self.directory / f"disk.{name}.{len(of_it)}"))
        return of_it[-1]

    def record_disks(self) -> None:
        """Write a row of each operation on a database that was watched."""
        for name, disks in self.disks.items():
            for disk in disks:
                for operation in disk.told():
                    self.recorder.add(
                        schema.DiskOperation,
                        process=name,
                        part=operation.part,
                        did=operation.did,
                        at_byte=operation.at_byte,
                        bytes=operation.size,
                        disk_ms=self.clock.at_ms(operation.at_s),
                    )

    def record_life(self, life: Life) -> None:
        """Write the row of a process that has ended, once."""
        life.record(self.recorder, self.clock)

    async def stop_processes(self) -> None:
        """End every process of the target and whatever they started; keeps what listened all the same."""
        await self._inner.end()
        self._left = await self._lives.end_all()
        await self._sweep(self.marker)

    def left(self, clock: RunClock) -> list[dict[str, object]]:
        """A row of `sockets` for every one that was listened on when all that was to listen there had ended."""
        return [
            {
                "watch": None,
                "process": name,
                "pid": pid,
                "address": listener.address,
                "port": listener.port,
                "socket_ms": clock.now_ms(),
            }
            for name, listener, pid in self._left
        ]

    def record_ended(self) -> None:
        """Write the row of every process that has ended although the stack goes on."""
        for life in self.lives.values():
            if not life.alive:
                self.record_life(life)

    def record_lives(self) -> None:
        """Write the row of every process that has none yet."""
        for life in self.lives.values():
            self.record_life(life)

    async def stop(self) -> None:
        """End Toxiproxy and what proves faults, and give the ports back. Never raises."""
        await self.links.stop()
        await self._sweep(self.marker, self.tool_marker)
        self._pool.release()

    async def _sweep(self, *marks: str) -> None:
        await ending.sweep(self.guard, [mark.encode() for mark in marks], self._since)

    def _allot_ports(self) -> None:
        """With nominal ports it is a proxy that gets the nominal one: a by-pass then finds nothing there."""
        nominal = {name: spec.port for name, spec in self.target.processes.items()}
        if not self.plan.nominal_ports:
            nominal = {}
        for link, spec in self.target.links.items():
            self.links.ports[link] = self._take(nominal.pop(spec.to, None))
        for name in self.target.processes:
            self._ports[name] = self._take(nominal.pop(name, None))

    def _take(self, port: int | None) -> int:
        if port is None:
            return self._pool.take()
        if there := answering(HOST, port):
            raise HarnessError(
                f"port {port} is in use: {described(there)} listens there; stop it and run again"
            )
        return self._pool.take_exactly(port)

    def _builtin_variables(self) -> Variables:
        values: dict[str, object] = {
            "python": sys.executable,
            "state": str(self.state),
            "root": str(self.plan.source_root),
            "host": HOST,
            "seed": self.plan.seed,
        }
        values |= {f"port.{name}": port for name, port in self._ports.items()}
        values |= {f"url.{name}": f"http://{HOST}:{port}" for name, port in self._ports.items()}
        return Variables(values)

    async def _prepare(self, prepare: Prepare) -> None:
        argv = self.argv(prepare.run)
        told = commands.told(argv)
        process = await self.spawn(argv, {})
        wrote = Output(self.plan.bounds.output.bytes)
        try:
            await asyncio.wait_for(communicate(process, b"", wrote), prepare.within.s)
        except TimeoutError as error:
            await end_process(process, 1.0)
            raise TargetError(f"`{told}` did not end within {prepare.within}") from error
        if process.returncode != 0:
            text = wrote.errors.decode(errors="replace")[-2000:]
            raise TargetError(f"`{told}` exited with {process.returncode}:\n{text}")
        if prepare.capture:
            self._capture(prepare, bytes(wrote.output))

    def _capture(self, prepare: Prepare, output: bytes) -> None:
        try:
            document = msgspec.json.decode(output)
            for name, place in prepare.capture.items():
                value = pick(document, place)
                self.variables.set(name, value)
                if is_secret(name):
                    self.recorder.keep_secret(str(value), name)
        except KeyError as error:
            raise TargetError(
                f"the output of `{prepare.run}` has nothing at {error.args[0]}"
            ) from error
        except (ValueError, *UNREADABLE) as error:
            raise TargetError(
                f"cannot capture from the output of `{prepare.run}`: {told(error)}"
            ) from error

    async def _start_links(self, probing: bool) -> None:
        if not self.target.links:
            return
        if self.plan.toxiproxy is None:
            raise HarnessError(f"target {self.target.target} has links, which need Toxiproxy")
        await self.links.start(
            self.plan.toxiproxy,
            api_port=self._pool.take(),
            spawn=self._spawn_tool,
            host=HOST,
            server_ports=self._ports,
        )
        if probing:
            await self.links.start_probing(
                spawn=self._spawn_tool,
                clock=self.clock,
                marker=self.marker,
                guard=self.guard.marker,
                processes=self._lives.names,
            )

    async def _spawn_tool(self, argv: list[str], **streams: object) -> asyncio.subprocess.Process:
        """Start a process of the harness's own beside the target."""
        name, _, value = self.tool_marker.partition("=")
        return await self.guard.spawn(argv, env={**os.environ, name: value}, **streams)  # type: ignore[arg-type]

    def _environment(self, *layers: Mapping[str, str]) -> dict[str, str]:
        name, _, value = self.marker.partition("=")
        environment = clean(os.environ, self.target.environment)
        environment |= {name: value, "PYTHONDONTWRITEBYTECODE": "1", **self.plan.environment}
        watching = environment.get(PYTHONPATH)
        for layer in layers:
            environment |= layer
        # Who watches the lines of a process goes on to, whatever else is put on its path.
        if watching is not None and environment[PYTHONPATH] != watching:
            environment[PYTHONPATH] += os.pathsep + watching
        return environment

    def _tail(self, life: Life) -> str:
        # Redacted before it is cut: half a secret is not known for one.
        text = self.recorder.redact(life.tail())[-TAIL_BYTES:].decode(errors="replace").strip()
        return text or "(it printed nothing)"


def is_secret(name: str) -> bool:
    """Whether a captured variable is a secret by its name: `token.…` and `secret.…` are."""
    return name.partition(".")[0] in ("token", "secret")


async def _all(work: list[Coroutine[object, object, object]]) -> None:
    """Do all of it at once; the first failure ends the rest."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""`load`: many requests from a process of its own, while other steps run."""

import asyncio
import contextlib
import re
import signal
from typing import Final, Self

import msgspec

from chaos import bounds
from chaos.clock import RunClock
from chaos.engine.scope import Scope
from chaos.engine.stack import HARNESS_SOURCE
from chaos.engine.wire import fill_path, merge_headers
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.guard import end_process, send_signal
from chaos.load.plan import (
    MAX_REQUESTS,
    SHAPES,
    Began,
    Bursts,
    Clients,
    Message,
    Plan,
    Rates,
    Summary,
    longest_s,
    planned,
    shortest_s,
)
from chaos.load.plan import Stage as PlanStage
from chaos.spec.kind import Kind
from chaos.spec.step import Send, Spec, Step
from chaos.spec.units import Duration, Rate

DEFAULT_WITHIN_S: Final = 10.0
START_S: Final = 15.0
GRACE_S: Final = 5.0
"""How much longer than it may take a load is waited for before it is ended."""

OWN: Final = frozenset({"i", "uuid"})
"""Variables that differ for each request of a load."""

_DOUBLED = re.compile(r"\{\{(?:i|uuid)\}\}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


class Stage(Spec, frozen=True, kw_only=True):
    """One stage of a stepped rate: `{rate: 20/s, for: 2s}`."""

    rate: Rate
    for_: Duration


class Load(Step, frozen=True, kw_only=True):
    """`load: turns` with one shape, what to `send`, and `meanwhile` the steps that run beside it.

    Shapes: `rate: 60/s` with `for` (open loop), or stages `rate: [{rate: 20/s, for: 2s}, …]`; `clients: 8`
    with `for` (closed loop); `burst: 100`, all at once on a connection each, `times` of them, one `every`.
    `send` is one request or a list of which each time one is chosen by the seed; `{i}` and `{uuid}` differ
    for each of them. Latency counts from the intended start. `within` bounds each request, `at_most`
    the number of all. `at` of the inner steps counts from the first request.
    """

    load: str
    rate: Rate | list[Stage] | None = None
    clients: int | None = None
    burst: int | None = None
    for_: Duration | None = None
    times: int = 1
    every: Duration = Duration("1s")
    at_most: int | None = None
    send: Send | list[Send]
    meanwhile: list[Step] = []

    def problem(self) -> str | None:
        """Why this cannot be carried out, or None."""
        if not _NAME.fullmatch(self.load):
            return (
                f"the name of a load becomes part of a file's name, so it cannot be {self.load!r}"
            )
        shapes = [name for name in ("rate", "clients", "burst") if getattr(self, name) is not None]
        if len(shapes) != 1:
            return "a load has exactly one of `rate`, `clients` and `burst`"
        if isinstance(self.send, list) and not self.send:
            return "a load needs something to `send`"
        if _DOUBLED.search(str(msgspec.to_builtins(self.send, enc_hook=str))):
            return "`{i}` and `{uuid}` are the load's own: they are filled in, doubled or not"
        return self._shape_problem(shapes[0]) or self._number_problem()

    def _shape_problem(self, shape: str) -> str | None:
        staged = shape == "burst" or isinstance(self.rate, list)
        if staged and self.for_ is not None:
            return "`for` goes with a constant `rate` or with `clients`"
        if not staged and self.for_ is None:
            return f"a load with `{shape}` needs a `for`"
        if self.rate == []:
            return "a stepped `rate` needs at least one stage"
        if shape != "burst" and self.times != 1:
            return "`times` goes with `burst`"
        return None

    def _number_problem(self) -> str | None:
        for name in ("clients", "burst", "times", "at_most"):
            value = getattr(self, name)
            if value is not None and value < 1:
                return f"`{name}` must be at least 1"
        if max(self.clients or 0, self.burst or 0) > bounds.CONNECTIONS:
            return f"more than {bounds.CONNECTIONS} connections at the same time"
        number = planned(self.shape(), MAX_REQUESTS + 1)
        if number == 0:
            return "not a single request would be sent: the time is too short for the rate"
        if max(number or 0, self.at_most or 0) > MAX_REQUESTS:
            return f"more than {MAX_REQUESTS} requests in one load"
        return None

    def least_s(self) -> float:
        """From its first request to its last."""
        return 0.0 if self.problem() is not None else shortest_s(self.shape())

    def shape(self) -> Rates | Clients | Bursts:
        """How the requests are spread; only of a load without a `problem`."""
        if self.burst is not None:
            return Bursts(self.burst, self.times, self.every.s)
        lasts_s = self.for_.s if self.for_ is not None else 0.0
        if self.clients is not None:
            return Clients(self.clients, lasts_s)
        if isinstance(self.rate, list):
            return Rates([PlanStage(stage.rate.per_s, stage.for_.s) for stage in self.rate])
        assert self.rate is not None
        return Rates([PlanStage(self.rate.per_s, lasts_s)])


async def run(step: Load, scope: Scope) -> int | None:
    """Run the load and, from its first request on, the inner steps; wait for the end of both.

    HarnessError when not everything that was planned was sent: such a load shows nothing.
    """
    problem = step.problem()
    if problem is not None:
        raise HarnessError(problem)
    scope.check(step.expect, {})
    plan = plan_of(step, scope)
    process = await _Process.start(plan, scope)
    try:
        if await process.began():
            await scope.run_steps(step.meanwhile, "meanwhile")
        await process.ended()
    finally:
        await process.stop()
        summary = process.summary()
        scope.recorder.add(
            schema.Load,
            load=step.load,
            shape=SHAPES[type(plan.shape)],
            planned=summary.planned,
            sent=summary.sent,
            done=summary.done,
            late_p99_ms=summary.late_p99_ms,
            load_began_ms=summary.began_ms,
            load_ended_ms=summary.ended_ms,
            problem=summary.problem,
        )
    if summary.problem is not None:
        raise HarnessError(f"load {step.load}: {summary.problem}")
    return 1 if step.meanwhile else None


def plan_of(step: Load, scope: Scope) -> Plan:
    """The plan of a load with all variables but its own filled in, and its rows reserved."""
    endpoint = scope.endpoint(step)
    shape = step.shape()
    keep_alive = scope.stack.target.keep_alive
    number = planned(shape, step.at_most or MAX_REQUESTS) or step.at_most or MAX_REQUESTS
    sends = step.send if isinstance(step.send, list) else [step.send]
    # Before the secrets are listed: a token made up on the spot becomes one by being used.
    messages = [_message(send, step, scope) for send in sends]
    # In each of two columns every secret, and something that looks like one.
    most_seen = 2 * (len(scope.recorder.secrets) + 1)
    return Plan(
        run_id=scope.recorder.run_id,
        gate=scope.recorder.gate,
        directory=str(scope.recorder.directory),
        origin_s=scope.clock.origin_s,
        load=step.load,
        step=scope.step_name(step),
        vars=as_json(scope.row_vars),
        link=endpoint.link,
        process=endpoint.process,
        host=endpoint.host,
        port=endpoint.port,
        source=HARNESS_SOURCE,
        seed=scope.rng.getrandbits(32),
        first_seq=scope.recorder.reserve("requests", number).start,
        at_most=number,
        shape=shape,
        messages=messages,
        keep_alive_s=keep_alive.s if keep_alive is not None else None,
        timeout_s=step.within.s if step.within is not None else DEFAULT_WITHIN_S,
        first_secret_seq=scope.recorder.reserve("secrets", number * most_seen).start,
        secrets=dict(scope.recorder.secrets),
        patterns=list(scope.recorder.patterns),
    )


def _message(send: Send, step: Load, scope: Scope) -> Message:
    """One kind of request. The load's own variables stay as they are written."""
    own = {name: f"{{{name}}}" for name in OWN}
    variables = scope.variables.child(own)
    sender = scope.sender(send.as_ if send.as_ is not None else step.as_)
    method, path = (variables.text(part) for part in send.target())
    if send.path_params is not None:
        params = variables.texts(send.path_params)
        path = fill_path(path, own | params)
    defaults = {}
    body = None if send.body is None else variables.text(send.body)
    if send.json is not None:
        body = msgspec.json.encode(variables.fill(send.json)).decode()
        defaults["Content-Type"] = "application/json"
    written = variables.texts(send.headers or {})
    return Message(
        method=method.upper(),
        path=path,
        route=send.target()[1],
        headers=merge_headers(defaults, sender.headers, written),
        body=body,
        actor=sender.label,
        role=sender.role,
    )


class _Process:
    """The load process, and what it has said so far."""

    def __init__(self, plan: Plan, process: asyncio.subprocess.Process, clock: RunClock) -> None:
        self._plan = plan
        self._process = process
        self._clock = clock
        self._began_ms = clock.now_ms()
        self._summary: Summary | None = None
        self._problem: str | None = None
        assert process.stderr is not None
        self._errors = asyncio.create_task(process.stderr.read())

    @classmethod
    async def start(cls, plan: Plan, scope: Scope) -> Self:
        """Start it and hand it its plan."""
        process = await scope.stack.guard.spawn_module(
            "chaos.load",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        return cls(plan, process, scope.clock)

    async def began(self) -> bool:
        """Wait for the first request; False when there will be none."""
        within_s = START_S + self._plan.timeout_s
        try:
            message = await self._message(within_s)
        except TimeoutError:
            self._problem = f"the load did not begin within {within_s:g} s"
            return False
        if isinstance(message, Began):
            self._began_ms = message.began_ms
        return isinstance(message, Began)

    async def ended(self) -> None:
        """Wait for the summary, not much longer than the load can take."""
        if self._summary is not None or self._problem is not None:
            return
        passed_s = (self._clock.now_ms() - self._began_ms) / 1000
        left_s = max(0.0, longest_s(self._plan) - passed_s) + GRACE_S
        try:
            await self._message(left_s)
        except TimeoutError:
            self._problem = f"the load did not end within {passed_s + left_s:.0f} s"

    async def stop(self) -> None:
        """End the process if it is still there; a load that is ended says how far it came."""
        assert self._process.stdin is not None
        if self._process.returncode is None and self._summary is None:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                send_signal(self._process, signal.SIGTERM)
                while await self._message(GRACE_S) is not None:
                    pass
        self._process.stdin.close()
        await end_process(self._process, 1.0)
        await asyncio.wait([self._errors], timeout=1.0)

    def summary(self) -> Summary:
        """What the load says it did, or that it says nothing."""
        if self._summary is not None:
            return self._summary
        return Summary(
            planned=planned(self._plan.shape, self._plan.at_most) or 0,
            sent=0,
            done=0,
            late_p99_ms=0.0,
            began_ms=self._began_ms,
            ended_ms=self._clock.now_ms(),
            cpu_s=0.0,
            problem=self._death(),
        )

    async def _message(self, within_s: float) -> Began | Summary | None:
        """The next thing it says; None when there will be nothing more."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), within_s)
        if not line.endswith(b"\n"):
            return None
        message = msgspec.json.decode(line, type=Began | Summary)
        if isinstance(message, Summary):
            self._summary = message
        return message

    def _death(self) -> str:
        text = self._problem or "the load process gave no summary"
        if self._process.returncode is not None:
            text += f"; it exited with {self._process.returncode}"
        if self._errors.done() and not self._errors.cancelled():
            lines = self._errors.result().decode(errors="replace").strip().splitlines()
            text += "".join(f"; {line}" for line in lines[-1:])
        return text


KIND = Kind(
    "load",
    Load,
    run,
    sends=True,
    names={"load": "load"},
    fills={"send": OWN},
    records={"requests.step": "name", "requests.load": "load", "loads.load": "load"},
)

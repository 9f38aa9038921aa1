"""What a step sees while it runs, and how lists of steps are walked."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec
from msgspec import Struct

from chaos.clock import RunClock
from chaos.engine.plan import children
from chaos.engine.stack import Stack, is_secret
from chaos.errors import ChaosError, HarnessError, RecordingError, told
from chaos.evidence import schema
from chaos.evidence.recorder import Recorder
from chaos.evidence.schema import Mode
from chaos.spec.kind import Kinds
from chaos.spec.matching import mismatches
from chaos.spec.step import Bearer, Expect, Step
from chaos.spec.variables import UnknownVariable, Variables, pick


class ExpectationFailed(Exception):
    """What a step expected was not observed. Measured, so it is a failure, not an error."""


class StopScenario(Exception):
    """A step with `must` did not succeed; the steps after it are skipped."""


class Window(Protocol):
    """A fault that is on and can be ended."""

    def may_have_ended(self, link: str | None, since_ms: float) -> bool:
        """Whether a connection over `link` may have been ended by this fault since then."""

    async def close(self) -> None:
        """End the fault and wait until its path is clean again."""


Alone: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
"""Makes sure that nothing of the session runs beside what is done inside of it."""


class RunState:
    """State of one run that all of its steps share; `last` is the id of the step after which nothing is done."""

    def __init__(
        self,
        kinds: Kinds,
        stack: Stack,
        recorder: Recorder,
        clock: RunClock,
        mode: Mode,
        seed: int,
        alone: Alone = nullcontext,
        last: str = "",
    ) -> None:
        self.last = last
        self.kinds = kinds
        self.stack = stack
        self.recorder = recorder
        self.clock = clock
        self.mode = mode
        self.alone = alone
        self.rng = random.Random(seed)
        self.windows: dict[str, Window] = {}
        self.background: set[asyncio.Task[None]] = set()
        self.failures = 0
        self._passes = 0

    def count_passes(self, number: int) -> None:
        """Of a `repeat` that is about to begin. HarnessError when all of them together are too many."""
        self._passes += number
        most = self.stack.plan.bounds.iterations
        if self._passes > most:
            raise HarnessError(f"more than {most} passes of all `repeat` of a gate")

    async def close_windows(self) -> None:
        """End every fault that is still on, and what was to end it later."""
        for task in self.background:
            task.cancel()
        await asyncio.gather(*self.background, return_exceptions=True)
        self.background.clear()
        for name in list(self.windows):
            await self.windows.pop(name).close()


class Sender(Struct, frozen=True):
    """Who a request comes from: label and role for the record, headers for the wire."""

    label: str | None
    role: str | None
    headers: dict[str, str]


class Endpoint(Struct, frozen=True):
    """Where a request goes: to a process directly, or through a link."""

    host: str
    port: int
    process: str
    link: str | None


class Scope:
    """One step's view of the run: its id, the variables it sees and when the step around it began."""

    def __init__(
        self,
        run: RunState,
        step_id: str,
        variables: Variables,
        row_vars: Mapping[str, object],
        began_ms: float,
    ) -> None:
        self.run = run
        self.step_id = step_id
        self.variables = variables
        self.row_vars = row_vars
        self.began_ms = began_ms

    @property
    def stack(self) -> Stack:
        """The started target."""
        return self.run.stack

    @property
    def recorder(self) -> Recorder:
        """Where evidence goes."""
        return self.run.recorder

    @property
    def clock(self) -> RunClock:
        """The run's time."""
        return self.run.clock

    @property
    def rng(self) -> random.Random:
        """The run's seeded generator."""
        return self.run.rng

    @property
    def mode(self) -> Mode:
        """Whether the target is healthy, defective, or faults are shams: windows with nothing injected."""
        return self.run.mode

    @property
    def is_last(self) -> bool:
        """Whether nothing needs the target after this step: no other one, and no fault that is to be seen gone."""
        return self.step_id == self.run.last and not self.run.windows

    def step_name(self, step: Step) -> str:
        """What evidence calls the step: its name, or its id."""
        return self.variables.text(step.name) if step.name is not None else self.step_id

    def sender(self, who: str | Bearer | None) -> Sender:
        """The actor of a step; nobody when it names none."""
        if who is None:
            return Sender(None, None, {})
        if isinstance(who, Bearer):
            token = self.variables.text(who.bearer)
            label = self.variables.text(who.label)
            self.recorder.keep_secret(token, label)
            role = self.variables.text(who.role) if who.role is not None else None
            return Sender(label, role, {"Authorization": f"Bearer {token}"})
        name = self.variables.text(who)
        actor = self.stack.target.actors.get(name)
        if actor is None:
            raise HarnessError(f"target {self.stack.target.target} has no actor {name!r}")
        headers = self.variables.texts(actor.headers)
        if actor.bearer is not None:
            headers["Authorization"] = f"Bearer {self.variables.text(actor.bearer)}"
        return Sender(name, actor.role or name, headers)

    def endpoint(self, step: Step) -> Endpoint:
        """Where the step's requests go. HarnessError when the target has no such link or process."""
        target = self.stack.target
        # Whoever is about to be asked is to be known, however soon it ends.
        self.stack.look()
        if step.via is not None:
            link = self.variables.text(step.via)
            port = self.stack.link_port(link)
            return Endpoint(self.stack.host, port, target.links[link].to, link)
        process = self.variables.text(step.to) if step.to else target.default_process()
        return Endpoint(self.stack.host, self.stack.port(process), process, None)

    def writable(self, text: str, *, itself: bool = False) -> Path:
        """The path of what a step changes, as `Places.written` resolves it."""
        return self.stack.places.written(self.variables.text(text), itself=itself)

    def readable(self, text: str) -> Path:
        """The path of what a step reads, as `Places.read` resolves it."""
        return self.stack.places.read(self.variables.text(text))

    def filled(self, values: Mapping[str, object]) -> dict[str, object]:
        """A mapping with every placeholder in it replaced."""
        return {self.variables.text(key): self.variables.fill(item) for key, item in values.items()}

    def check(self, expect: Expect | None, observed: Mapping[str, object]) -> None:
        """ExpectationFailed with all mismatches; HarnessError for what this kind of step cannot see."""
        problems = list(self.unexpected(expect, observed))
        if problems:
            raise ExpectationFailed("; ".join(problems))

    def unexpected(self, expect: Expect | None, observed: Mapping[str, object]) -> Iterator[str]:
        """Everything in which `observed` is not what is expected, a sentence each."""
        for field in Expect.__struct_fields__ if expect is not None else ():
            wanted = getattr(expect, field)
            if wanted is None:
                continue
            if field not in observed:
                raise HarnessError(f"this kind of step does not observe {field!r}")
            if field == "headers":
                wanted = {name.lower(): value for name, value in wanted.items()}
            yield from mismatches(self.variables.fill(wanted), observed[field], field)

    def capture(self, step: Step, document: object) -> str | None:
        """Set the variables that the step takes from an answer; says what was not there, if anything."""
        missing = []
        for name, place in step.capture.items():
            try:
                value = pick(document, place)
            except KeyError:
                missing.append(place)
                continue
            self.variables.set(name, value)
            if is_secret(name):
                self.recorder.keep_secret(str(value), name)
        return f"nothing to capture at {', '.join(missing)}" if missing else None

    async def run_steps(
        self,
        steps: list[Step],
        place: str,
        variables: Variables | None = None,
        row_vars: Mapping[str, object] | None = None,
    ) -> None:
        """Walk inner steps one after the other; `at` counts from now."""
        scope = Scope(
            self.run,
            f"{self.step_id}.{place}",
            self.variables if variables is None else variables,
            self.row_vars if row_vars is None else row_vars,
            self.clock.now_ms(),
        )
        await walk_steps(scope, steps)

    def skip_steps(self, steps: list[Step], place: str, why: str | None = None) -> None:
        """Record that inner steps were not carried out, and why."""
        skip(self.run, f"{self.step_id}.{place}", steps, why=why)


async def walk_steps(scope: Scope, steps: list[Step]) -> None:
    """Run a list of steps; StopScenario when one with `must` did not succeed, the rest recorded as skipped."""
    for index, step in enumerate(steps):
        if step.at is not None:
            await asyncio.sleep(max(0.0, scope.began_ms + step.at.ms - scope.clock.now_ms()) / 1000)
        try:
            async with scope.run.alone() if step.exclusive else nullcontext():
                now_ms = scope.clock.now_ms()
                step_id = f"{scope.step_id}.{index}"
                inner = Scope(scope.run, step_id, scope.variables, scope.row_vars, now_ms)
                await _run_step(scope.run.kinds[type(step)].run, step, inner)
        except StopScenario:
            skip(scope.run, scope.step_id, steps, index + 1)
            raise


def skip(
    run: RunState, prefix: str, steps: list[Step], first: int = 0, why: str | None = None
) -> None:
    """Record that the steps from number `first` on, and all inside them, were not carried out."""
    for index, step in enumerate(steps[first:], first):
        step_id = f"{prefix}.{index}"
        _record(run, step_id, step, run.clock.now_ms(), "skipped", why)
        for place, inner in children(step):
            skip(run, f"{step_id}.{place}", list(inner), why=why)


async def _run_step(run: Callable[..., Awaitable[int | None]], step: Step, scope: Scope) -> None:
    iterations: int | None = None
    outcome: schema.StepOutcome = "ok"
    detail: str | None = None
    stop = False
    try:
        if (problem := step.problem()) is not None:
            raise HarnessError(problem)
        iterations = await run(step, scope)
    except ExpectationFailed as failure:
        outcome, detail = "failed", str(failure)
    except StopScenario as reason:
        outcome, detail, stop = "failed", str(reason) or "a step inside it had to succeed", True
    except RecordingError:
        # Whatever is observed from here on would be lost: the run is over.
        raise
    except (ChaosError, LookupError, OSError, TypeError, ValueError) as error:
        outcome, detail = "error", _reason(error)
    except asyncio.CancelledError:
        _record(
            scope.run, scope.step_id, _named(step, scope), scope.began_ms, "error", "interrupted"
        )
        raise
    _record(
        scope.run, scope.step_id, _named(step, scope), scope.began_ms, outcome, detail, iterations
    )
    if stop or (step.must and outcome != "ok"):
        raise StopScenario(detail or "")


def _named(step: Step, scope: Scope) -> Step:
    """The step under the name that the rest of the evidence calls it by, where that could be filled in."""
    try:
        return msgspec.structs.replace(step, name=scope.step_name(step)) if step.name else step
    except UnknownVariable:
        return step


def _reason(error: Exception) -> str:
    if isinstance(error, UnknownVariable):
        return f"nothing has set the variable {error.args[0]!r}"
    return told(error)


def _record(
    run: RunState,
    step_id: str,
    step: Step,
    began_ms: float,
    outcome: schema.StepOutcome,
    detail: str | None,
    iterations: int | None = None,
) -> None:
    run.failures += outcome != "ok"
    run.recorder.add(
        schema.Step,
        step=step_id,
        kind=run.kinds[type(step)].name,
        name=step.name,
        began_ms=began_ms,
        ended_ms=run.clock.now_ms(),
        outcome=outcome,
        detail=detail,
        iterations=iterations,
    )

"""`start`: start a process again, with more environment, another configuration or another clock."""

import asyncio
import contextlib
from typing import Final

from chaos.engine.ending import named
from chaos.engine.life import Life
from chaos.engine.scope import ExpectationFailed, Scope
from chaos.errors import HarnessError, TargetError
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.shims.faketime import clock_environment
from chaos.spec.kind import Kind
from chaos.spec.step import Step
from chaos.spec.units import Duration, Offset

OUTPUT_MOST_BYTES: Final = 20_000


class Start(Step, frozen=True, kw_only=True):
    """`start: gateway`; waits until it is ready, or until it exits where `expect: {exit: …}` says so.

    `env` is added to its environment, `config` merged into the target's configuration file first;
    `clock_offset: -1h` shifts the process's wall clock (never its monotonic one), to be moved later by `clock`.
    `disk: "{state}/control.db"` has what it does to this SQLite database written down, for `disk_operations` and for
    `kill` with `drop_unsynced`.
    A process that was to exit is a row of `commands`, its output in `errors`; one that does not is killed.
    """

    start: str
    env: dict[str, str] = {}
    config: dict[str, object] = {}
    clock_offset: Offset | None = None
    disk: str | None = None


async def run(step: Start, scope: Scope) -> None:
    """Start it and compare what became of it with what is expected."""
    stack = scope.stack
    name = scope.variables.text(step.start)
    stack.port(name)
    stack.configure(scope.filled(step.config))
    env = scope.variables.texts(step.env)
    if step.clock_offset is not None:
        env |= clock_environment(stack.directory, name, step.clock_offset.ms)
    if step.disk is not None:
        env |= stack.watch_disk(name, scope.writable(step.disk)).environment
    within = step.within or stack.target.processes[name].ready_within
    began_ms = scope.clock.now_ms()
    life = await stack.launch(name, env)
    if step.expect is not None and step.expect.exit is not None:
        await _await_exit(step, scope, life, within, began_ms)
        return
    try:
        await stack.await_ready(name, within)
    except TargetError as error:
        raise ExpectationFailed(str(error)) from error
    scope.check(step.expect, {"ready": True})


async def _await_exit(
    step: Start, scope: Scope, life: Life, within: Duration, began_ms: float
) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(life.process.wait(), within.s)
    output = life.tail(OUTPUT_MOST_BYTES).decode(errors="replace")
    scope.recorder.add(
        schema.Command,
        step=scope.step_name(step),
        vars=as_json(scope.row_vars),
        argv=life.argv,
        exit=life.exit,
        output="",
        errors=output,
        command_began_ms=began_ms,
        command_ended_ms=scope.clock.now_ms(),
    )
    if life.alive:
        # What should not have stayed must not disturb the steps after this one.
        life.ended_by = "kill"
        if left := await scope.stack.kill(life):
            raise HarnessError(f"{life.name} cannot be killed: {named(left)}")
        scope.stack.record_life(life)
        message = f"{life.name} was expected to exit within {within} and was still running"
        raise ExpectationFailed(message)
    life.ended_by = "asked"
    scope.stack.record_life(life)
    scope.check(step.expect, {"exit": life.exit, "errors": output, "ready": False})


KIND = Kind(
    "start",
    Start,
    run,
    observes=frozenset({"exit", "errors", "ready"}),
    names={"start": "process"},
    starts=True,
    paths={"disk": "written"},
    records={"commands.step": "name"},
)

"""`start`: start a process again, with more environment, another configuration or another clock."""

import asyncio
from pathlib import Path

from chaos.engine.scope import ExpectationFailed, Scope
from chaos.engine.stack import Stack
from chaos.errors import HarnessError, TargetError
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.shims.faketime import clock_environment
from chaos.spec.step import Step
from chaos.spec.units import Duration, Offset

OUTPUT_MOST_BYTES = 20_000


class Start(Step, frozen=True, kw_only=True):
    """`start: gateway`; waits until it is ready, or until it exits where `expect: {exit: …}` says so.

    `env` is added to its environment, `config` merged into the target's configuration file first;
    `clock_offset: -1h` shifts the process's wall clock (never its monotonic one), to be moved later by `clock`.
    """

    start: str
    env: dict[str, str] = {}
    config: dict[str, object] = {}
    clock_offset: Offset | None = None


async def run(step: Start, scope: Scope) -> None:
    """Start it and compare what became of it with what is expected."""
    stack = scope.stack
    name = scope.variables.text(step.start)
    if name not in stack.target.processes:
        raise HarnessError(f"target {stack.target.target} has no process {name!r}")
    configuration = scope.variables.fill(dict(step.config))
    assert isinstance(configuration, dict)
    stack.configure(configuration)
    env = {key: scope.variables.text(value) for key, value in step.env.items()}
    if step.clock_offset is not None:
        env |= clock_environment(stack.directory, name, step.clock_offset.ms)
    began_ms = scope.clock.now_ms()
    life = await stack.launch(name, env)
    if step.expect is not None and step.expect.exit is not None:
        within = step.within or stack.target.processes[name].ready_within
        await _await_exit(step, scope, name, within, began_ms)
        return
    try:
        await stack.await_ready(name)
    except TargetError as error:
        raise ExpectationFailed(str(error)) from error
    scope.check(step.expect, {"ready": life.ready_ms is not None})


async def _await_exit(
    step: Start, scope: Scope, name: str, within: Duration, began_ms: float
) -> None:
    stack = scope.stack
    life = stack.lives[name]
    try:
        await asyncio.wait_for(life.process.wait(), within.s)
    except TimeoutError:
        pass
    output = stack.recorder.redact(_output(life.log)).decode(errors="replace")
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
        await _end(stack, name)
        raise ExpectationFailed(
            f"{name} was expected to exit within {within} and was still running"
        )
    stack.record_life(life)
    scope.check(step.expect, {"exit": life.exit, "errors": output, "ready": False})


async def _end(stack: Stack, name: str) -> None:
    """A process that should not have stayed must not disturb the steps after this one."""
    life = stack.lives[name]
    life.ended_by = "kill"
    life.process.kill()
    await life.process.wait()
    stack.record_life(life)


def _output(log: Path) -> bytes:
    return log.read_bytes()[-OUTPUT_MOST_BYTES:]

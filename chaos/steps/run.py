"""`run`: a command, its exit code and its output."""

import asyncio

from chaos.answers import document
from chaos.engine import commands
from chaos.engine.output import Output, communicate
from chaos.engine.scope import ExpectationFailed, Scope
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.guard import end_process
from chaos.spec.kind import Kind
from chaos.spec.step import Expect, Step
from chaos.spec.units import Duration


class RunCommand(Step, frozen=True, kw_only=True):
    """`run: "{python} -m service audit verify --state {state}"`; no shell.

    `env` is added to the environment, `stdin` is its input. `expect` may speak of `exit`, `output` (JSON
    where it is JSON) and `errors`; without one it must exit 0. What was run is a row of `commands`.
    """

    run: str
    env: dict[str, str] = {}
    stdin: str = ""
    within: Duration | None = Duration("20s")

    def problem(self) -> str | None:
        """What is run is a program."""
        return commands.problem(self.run)


async def run(step: RunCommand, scope: Scope) -> None:
    """Run it to its end, or kill it when `within` has passed: that is an error, not a failure."""
    argv = scope.stack.argv(step.run, scope.variables)
    env = scope.variables.texts(step.env)
    wrote = Output(scope.stack.plan.bounds.output.bytes)
    began_ms = scope.clock.now_ms()
    process = await scope.stack.spawn(argv, env)
    try:
        within_s = step.within.s if step.within is not None else None
        stdin = scope.variables.text(step.stdin).encode()
        await asyncio.wait_for(communicate(process, stdin, wrote), within_s)
    except TimeoutError as error:
        more = f", and {wrote.excess}" if wrote.excess else ""
        raise HarnessError(
            f"`{commands.told(argv)}` did not end within {step.within}{more}"
        ) from error
    finally:
        # Whether it has ended or not: what it started in its group must not stay.
        await end_process(process, 1.0)
    output, errors = bytes(wrote.output), wrote.errors.decode(errors="replace")
    read = document(output)
    # A captured secret must be known before the output that holds it is written.
    missing = scope.capture(step, read)
    scope.recorder.add(
        schema.Command,
        step=scope.step_name(step),
        vars=as_json(scope.row_vars),
        argv=argv,
        exit=process.returncode,
        output=output.decode(errors="replace"),
        errors=errors,
        command_began_ms=began_ms,
        command_ended_ms=scope.clock.now_ms(),
    )
    observed = {
        "exit": process.returncode,
        "output": read,
        "errors": errors,
    }
    if wrote.excess:
        raise HarnessError(f"`{commands.told(argv)}` {wrote.excess}")
    problems = list(scope.unexpected(step.expect or Expect(exit=0), observed))
    if problems or missing:
        raise ExpectationFailed("; ".join([*problems, *([missing] if missing else [])]))


KIND = Kind(
    "run",
    RunCommand,
    run,
    observes=frozenset({"exit", "output", "errors"}),
    captures=True,
    only_reads=True,
    records={"commands.step": "name"},
)

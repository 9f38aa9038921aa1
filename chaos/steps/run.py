"""`run`: a command, its exit code and its output."""

import asyncio
import shlex

from chaos.engine.scope import Scope
from chaos.engine.wire import decode
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.guard import end_process
from chaos.spec.step import Expect, Step
from chaos.spec.units import Duration

MOST_BYTES = 1_000_000


class Run(Step, frozen=True, kw_only=True):
    """`run: "{python} -m service audit verify --state {state}"`; no shell.

    `expect` may speak of `exit`, `output` (JSON where it is JSON) and `errors`; without one it must exit 0.
    """

    run: str
    env: dict[str, str] = {}
    stdin: str = ""
    within: Duration | None = Duration("20s")


async def run(step: Run, scope: Scope) -> None:
    """Run it to its end, or kill it when `within` has passed: that is an error, not a failure."""
    argv = shlex.split(scope.variables.text(step.run))
    env = {key: scope.variables.text(value) for key, value in step.env.items()}
    began_ms = scope.clock.now_ms()
    process = await scope.stack.spawn(argv, env)
    try:
        within_s = step.within.s if step.within is not None else None
        stdin = scope.variables.text(step.stdin).encode()
        output, errors = await asyncio.wait_for(process.communicate(stdin), within_s)
    except TimeoutError as error:
        await end_process(process, 1.0)
        raise HarnessError(f"`{step.run}` did not end within {step.within}") from error
    document = decode(output[:MOST_BYTES])
    scope.capture(step, document)
    scope.recorder.add(
        schema.Command,
        step=scope.step_name(step),
        vars=as_json(scope.row_vars),
        argv=argv,
        exit=process.returncode,
        output=output[:MOST_BYTES].decode(errors="replace"),
        errors=errors[:MOST_BYTES].decode(errors="replace"),
        command_began_ms=began_ms,
        command_ended_ms=scope.clock.now_ms(),
    )
    observed = {
        "exit": process.returncode,
        "output": document,
        "errors": errors.decode(errors="replace"),
    }
    scope.check(step.expect or Expect(exit=0), observed)

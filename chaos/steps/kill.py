"""`kill`: send a signal to a process."""

import signal

from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.spec.step import Step


class Kill(Step, frozen=True, kw_only=True):
    """`kill: gateway` with `signal: KILL` (the default), `TERM`, `STOP`, `CONT` or any other name.

    Waits for the end where the signal ends a process.
    """

    kill: str
    signal: str = "KILL"


async def run(step: Kill, scope: Scope) -> None:
    """Send it to the process itself, not to its children."""
    name = f"SIG{step.signal.removeprefix('SIG')}"
    if name not in signal.Signals.__members__:
        raise HarnessError(f"there is no signal {step.signal!r}")
    await scope.stack.signal(scope.variables.text(step.kill), signal.Signals[name])

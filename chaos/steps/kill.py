"""`kill`: send a signal to a process."""

import signal as signals

from chaos.engine.scope import Scope
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Kill(Step, frozen=True, kw_only=True):
    """`kill: gateway` with `signal: KILL` (the default), `TERM`, `STOP`, `CONT` or any other name.

    Waits for the end where the signal ends a process.
    """

    kill: str
    signal: str = "KILL"

    def problem(self) -> str | None:
        """Only signals that there are."""
        known = self.number() is not None
        return None if known else f"there is no signal {self.signal!r}"

    def number(self) -> signals.Signals | None:
        """The signal; None when there is none of that name."""
        return signals.Signals.__members__.get(f"SIG{self.signal.removeprefix('SIG')}")


async def run(step: Kill, scope: Scope) -> None:
    """Send it to the process itself, not to its children."""
    number = step.number()
    assert number is not None, "a step with a problem is not run"
    await scope.stack.signal(scope.variables.text(step.kill), number)


KIND = Kind("kill", Kill, run, names={"kill": "process"})

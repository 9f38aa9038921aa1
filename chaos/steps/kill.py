"""`kill`: send a signal to a process and all that came of it."""

import signal as signals

from chaos.engine.scope import Scope
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Kill(Step, frozen=True, kw_only=True):
    """`kill: gateway` with `signal: KILL` (the default), `TERM`, `STOP`, `CONT` or any other name.

    It is sent to the process that was started and to all that came of it, or, with `alone: true`, to that process only.
    `KILL`, `TERM` and `INT` wait for the end; one of all is proven by a port that refuses.
    """

    kill: str
    signal: str = "KILL"
    alone: bool = False

    def problem(self) -> str | None:
        """Only signals that there are."""
        known = self.number() is not None
        return None if known else f"there is no signal {self.signal!r}"

    def number(self) -> signals.Signals | None:
        """The signal; None when there is none of that name."""
        return signals.Signals.__members__.get(f"SIG{self.signal.removeprefix('SIG')}")


async def run(step: Kill, scope: Scope) -> None:
    """HarnessError when nobody is there to be sent a signal, or when an end is not proven."""
    number = step.number()
    assert number is not None, "a step with a problem is not run"
    await scope.stack.signal(scope.variables.text(step.kill), number, alone=step.alone)


KIND = Kind("kill", Kill, run, names={"kill": "process"})

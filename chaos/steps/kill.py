"""`kill`: send a signal to a process and all that came of it."""

import asyncio
import signal as signals

from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Kill(Step, frozen=True, kw_only=True):
    """`kill: gateway` with `signal: KILL` (the default), `TERM`, `STOP`, `CONT` or any other name.

    It is sent to the process that was started and to all that came of it, or, with `alone: true`, to that process only.
    `KILL`, `TERM` and `INT` wait for the end; one of all is proven by a port that refuses. With `drop_unsynced: true` the
    database that it was started with as `disk` then holds what was synced, as if power had been lost.
    """

    kill: str
    signal: str = "KILL"
    alone: bool = False
    drop_unsynced: bool = False

    def problem(self) -> str | None:
        """Only signals that there are; power is lost by nobody in good order."""
        if self.number() is None:
            return f"there is no signal {self.signal!r}"
        if self.drop_unsynced and (self.alone or self.number() != signals.SIGKILL):
            return "`drop_unsynced` needs the end of all of it by SIGKILL"
        return None

    def number(self) -> signals.Signals | None:
        """The signal; None when there is none of that name."""
        return signals.Signals.__members__.get(f"SIG{self.signal.removeprefix('SIG')}")


async def run(step: Kill, scope: Scope) -> None:
    """HarnessError when nobody is there to be sent a signal, when an end is not proven, and when what was written is not known."""
    number = step.number()
    assert number is not None, "a step with a problem is not run"
    name = scope.variables.text(step.kill)
    disks = scope.stack.disks.get(name, [])
    if step.drop_unsynced and not disks:
        raise HarnessError(
            f"{name} was not started with `disk`, so what it did not sync is not known"
        )
    await scope.stack.signal(name, number, alone=step.alone)
    if step.drop_unsynced:
        await asyncio.to_thread(disks[-1].lose_power)


KIND = Kind("kill", Kill, run, names={"kill": "process"})

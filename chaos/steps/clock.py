"""`clock`: move the wall clock of a running process."""

from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.shims.faketime import is_shifted, set_clock
from chaos.spec.kind import Kind
from chaos.spec.step import Step
from chaos.spec.units import Offset


class Clock(Step, frozen=True, kw_only=True):
    """`clock: gateway` with `offset: -1h` from true time; the process was started with `clock_offset`."""

    clock: str
    offset: Offset


async def run(step: Clock, scope: Scope) -> None:
    """Takes hold at the process's next look at its clock."""
    process = scope.variables.text(step.clock)
    if not is_shifted(scope.stack.directory, process):
        raise HarnessError(
            f"{process} was not started with `clock_offset`, so its clock cannot be moved"
        )
    set_clock(scope.stack.directory, process, step.offset.ms)


KIND = Kind("clock", Clock, run, names={"clock": "process"}, starts=True)

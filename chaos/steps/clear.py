"""`clear`: end a fault now and see its path clean again."""

from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Clear(Step, frozen=True, kw_only=True):
    """`clear: outage`, the name of a fault that is on."""

    clear: str


async def run(step: Clear, scope: Scope) -> None:
    """Close the fault's window."""
    window = scope.run.windows.pop(step.clear, None)
    if window is None:
        raise HarnessError(f"no fault named {step.clear!r} is on")
    await window.close()


KIND = Kind("clear", Clear, run, names={"clear": "fault"})

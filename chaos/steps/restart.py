"""`restart`: stop processes and start them again, all at once."""

from chaos.engine import again
from chaos.engine.scope import ExpectationFailed, Scope
from chaos.errors import TargetError
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Restart(Step, frozen=True, kw_only=True):
    """`restart: [gateway, memory]`: SIGTERM to all of them, the end of each, and a new start until all are ready.

    Each starts with the environment that it was started with last.
    """

    restart: list[str]

    def problem(self) -> str | None:
        """Nothing to restart shows nothing, and nobody is stopped twice."""
        if len(set(self.restart)) < len(self.restart):
            return "restarts a process twice"
        return None if self.restart else "restarts nothing"


async def run(step: Restart, scope: Scope) -> None:
    """ExpectationFailed when one does not come back."""
    names = [scope.variables.text(name) for name in step.restart]
    await again.stop(scope.stack, names)
    try:
        await again.start(scope.stack, names)
    except TargetError as error:
        raise ExpectationFailed(str(error)) from error


KIND = Kind("restart", Restart, run, names={"restart": "process"}, starts=True)

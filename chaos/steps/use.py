"""`use`: the steps of a scenario file with arguments."""

from typing import ClassVar

from chaos.engine.scope import Scope
from chaos.spec.step import Step


class Use(Step, frozen=True, kw_only=True):
    """`use: restart-gateway` with `with: {…}`; `steps` is filled in from the scenario file when it is loaded."""

    FILLED_IN: ClassVar[frozenset[str]] = frozenset({"steps"})

    use: str
    with_: dict[str, object] = {}
    steps: list[Step] = []


async def run(step: Use, scope: Scope) -> int:
    """Run the scenario's steps with its arguments as variables; what they capture stays inside."""
    variables = scope.variables.child(scope.filled(step.with_))
    await scope.run_steps(step.steps, "steps", variables=variables)
    return 1

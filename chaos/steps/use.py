"""`use`: the steps of a scenario file with arguments."""

from chaos.engine.scope import Scope
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Use(Step, frozen=True, kw_only=True):
    """`use: restart-gateway` with `with: {…}`; `steps` and `gives` are filled in from the scenario file."""

    use: str
    with_: dict[str, object] = {}
    steps: list[Step] = []
    gives: list[str] = []

    def given(self) -> list[str]:
        """What the scenario gives."""
        return self.gives


async def run(step: Use, scope: Scope) -> int:
    """Run the scenario's steps with its arguments as variables; of what they capture only what it gives is set here."""
    variables = scope.variables.child(scope.filled(step.with_))
    await scope.run_steps(step.steps, "steps", variables=variables)
    for name in step.gives:
        # What is missing was to be captured by a step that has failed already.
        if name in variables:
            scope.variables.set(name, variables[name])
    return 1


KIND = Kind("use", Use, run, only_reads=True, keeps=True, filled_in=frozenset({"steps", "gives"}))

"""`parallel`: several lists of steps at the same time."""

import asyncio

from chaos.engine.scope import Scope
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Parallel(Step, frozen=True, kw_only=True):
    """`parallel: [[…], […]]`: each list is walked in order, all lists at once; it ends with the last one."""

    parallel: list[list[Step]]

    def problem(self) -> str | None:
        """Nothing at the same time shows nothing."""
        return None if self.parallel and all(self.parallel) else "runs nothing"


async def run(step: Parallel, scope: Scope) -> int:
    """Walk all branches; when one must stop the scenario, the others are finished first."""
    branches = (
        scope.run_steps(branch, f"parallel.{index}") for index, branch in enumerate(step.parallel)
    )
    for result in await asyncio.gather(*branches, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
    return 1


KIND = Kind("parallel", Parallel, run, only_reads=True, at_once=True)

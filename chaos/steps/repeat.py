"""`repeat`: the same steps several times, a number or the cross product of lists."""

import itertools
from collections.abc import Mapping

from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.spec.kind import Kind
from chaos.spec.step import Step

MOST = 100_000


class Repeat(Step, frozen=True, kw_only=True):
    """`repeat: 3`, or `repeat: {role: [operator, observer], route: "{routes}"}`, with `steps`.

    The names become variables inside (`i` for a number, from 0) and stand in the `vars` of every row.
    What is captured inside stays inside. Repeating nothing is an error: it would show nothing.
    """

    repeat: int | dict[str, object]
    steps: list[Step]

    def bound(self) -> Mapping[str, object]:
        """The names with their lists; a number counts as `i`."""
        return {"i": [0]} if isinstance(self.repeat, int) else self.repeat

    def problem(self) -> str | None:
        """Repeating nothing shows nothing."""
        nothing = (
            self.repeat < 1
            if isinstance(self.repeat, int)
            else not self.repeat or [] in self.repeat.values()
        )
        return "repeats nothing" if nothing or not self.steps else None


async def run(step: Repeat, scope: Scope) -> int:
    """One pass after the other, in the order of the lists, the last name varying fastest."""
    passes = _passes(step, scope)
    if not passes:
        raise HarnessError("there was nothing to repeat: a list is empty")
    for values in passes:
        variables = scope.variables.child(values)
        await scope.run_steps(step.steps, "steps", variables, {**scope.row_vars, **values})
    return len(passes)


def _passes(step: Repeat, scope: Scope) -> list[dict[str, object]]:
    if isinstance(step.repeat, int):
        passes: list[dict[str, object]] = [{"i": index} for index in range(step.repeat)]
    else:
        lists = {name: scope.variables.fill(values) for name, values in step.repeat.items()}
        for name, values in lists.items():
            if not isinstance(values, list):
                raise HarnessError(f"{name!r} is not a list, so it cannot be repeated over")
        columns = [values for values in lists.values() if isinstance(values, list)]
        passes = [dict(zip(lists, row, strict=True)) for row in itertools.product(*columns)]
    if len(passes) > MOST:
        raise HarnessError(f"{len(passes)} passes are more than {MOST}")
    return passes


KIND = Kind("repeat", Repeat, run, only_reads=True, keeps=True)

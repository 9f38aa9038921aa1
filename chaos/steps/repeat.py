"""`repeat`: the same steps several times, a number or the cross product of lists."""

import itertools
import math
from collections.abc import Mapping, Sequence

from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.spec.kind import Kind
from chaos.spec.step import Step


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

    def passes(self) -> int:
        """Lists that are known only when it runs count as one."""
        if isinstance(self.repeat, int):
            return self.repeat
        return math.prod(len(rows) for rows in self.repeat.values() if isinstance(rows, list))


async def run(step: Repeat, scope: Scope) -> int:
    """One pass after the other, in the order of the lists, the last name varying fastest."""
    columns = _columns(step, scope)
    number = math.prod(map(len, columns.values()))
    if number == 0:
        raise HarnessError("there was nothing to repeat: a list is empty")
    scope.run.count_passes(number)
    for row in itertools.product(*columns.values()):
        values = dict(zip(columns, row, strict=True))
        variables = scope.variables.child(values)
        await scope.run_steps(step.steps, "steps", variables, {**scope.row_vars, **values})
    return number


def _columns(step: Repeat, scope: Scope) -> dict[str, Sequence[object]]:
    if isinstance(step.repeat, int):
        return {"i": range(step.repeat)}
    columns: dict[str, Sequence[object]] = {}
    for name, written in step.repeat.items():
        values = scope.variables.fill(written)
        if not isinstance(values, list):
            raise HarnessError(f"{name!r} is not a list, so it cannot be repeated over")
        columns[name] = values
    return columns


KIND = Kind("repeat", Repeat, run, only_reads=True, keeps=True)

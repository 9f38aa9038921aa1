"""Steps inside of steps: where they stand, and the same ones with something changed."""

from collections.abc import Callable, Iterator

import msgspec

from chaos.engine.plan import children
from chaos.spec.document import Path
from chaos.spec.step import Step
from chaos.steps import KINDS

StepMap = Callable[[Step, Path], Step]
ListMap = Callable[[list[Step], Path], list[Step]]


def inner_lists(
    step: Step, path: Path, *, written: bool = False
) -> Iterator[tuple[Path, tuple[Step, ...]]]:
    """Each list of steps inside of a step with its place in the document, or those only that are `written` there."""
    filled_in = KINDS[type(step)].filled_in if written else frozenset()
    for place, inner in children(step):
        field, *parts = (int(part) if part.isdigit() else part for part in place.split("."))
        if field not in filled_in:
            yield (*path, field, *parts), inner


def map_inner(step: Step, path: Path, change: ListMap) -> Step:
    """The step, each list of steps in it replaced by `change`, which is told where the list stands."""
    fields: dict[str, object] = {}
    for name in step.__struct_fields__:
        value = getattr(step, name)
        if isinstance(value, list) and value and isinstance(value[0], Step):
            fields[name] = change(value, (*path, name))
        elif isinstance(value, list) and value and isinstance(value[0], list):
            fields[name] = [
                change(branch, (*path, name, number)) for number, branch in enumerate(value)
            ]
    return msgspec.structs.replace(step, **fields) if fields else step


def map_steps(steps: list[Step], path: Path, change: StepMap) -> list[Step]:
    """The same steps, each replaced by `change`, inner ones first."""

    def all_of(inner: list[Step], place: Path) -> list[Step]:
        return map_steps(inner, place, change)

    return [
        change(map_inner(step, (*path, index), all_of), (*path, index))
        for index, step in enumerate(steps)
    ]

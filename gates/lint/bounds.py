"""Whether a gate would end: how often its steps are repeated, and how long they take at the least."""

from collections.abc import Iterator, Sequence

from chaos.engine.plan import least_s
from chaos.spec.bounds import Bounds
from chaos.spec.document import Path as Place
from chaos.spec.step import Step
from gates.judge.lint import Complaint
from gates.spec.gate import Gate
from gates.spec.mapping import inner_lists


def bounds_problems(gate: Gate, bounds: Bounds) -> Iterator[Complaint]:
    """What is known to be beyond the bounds of a release, at the step that goes beyond."""
    lists = ((("control",), gate.control), (("scenario",), gate.scenario))
    done, taken_s = 0, 0.0
    for path, steps in lists:
        for place, number in _passes(steps, path, 1):
            done += number
            if done > bounds.iterations:
                yield Complaint(
                    place, f"more than {bounds.iterations} passes of all `repeat` of a gate"
                )
                break
        for index, step in enumerate(steps):
            before_s, taken_s = taken_s, taken_s + least_s([step])
            if before_s <= bounds.gate.s < taken_s:
                message = f"by the end of this step the gate has taken more than {bounds.gate}"
                yield Complaint((*path, index), message)


def _passes(steps: Sequence[Step], path: Place, times: int) -> Iterator[tuple[Place, int]]:
    """Each `repeat` with its place and how many passes are known to be made of it."""
    for index, step in enumerate(steps):
        here = (*path, index)
        passes = step.passes()
        inside = times * (1 if passes is None else passes)
        if passes is not None:
            yield here, inside
        for place, inner in inner_lists(step, here):
            yield from _passes(list(inner), place, inside)

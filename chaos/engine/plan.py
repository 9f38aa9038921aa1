"""What one run of one gate is to do, resolved before anything starts, and the ids of its steps."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from chaos.evidence.schema import Mode
from chaos.spec.bounds import DEFAULT, Bounds
from chaos.spec.step import Step
from chaos.spec.target import Target

CONTROL: Final = "control"
SCENARIO: Final = "scenario"


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that the engine needs, and nothing of what will be asserted.

    `directory` gets the evidence; `source_root` is the directory that processes start in, the project
    itself or a copy with a defect; `digests` and `versions` go into the run's first record; `link_check` records what
    every link carried; `attempt` counts the runs of this gate in one session; `environment` is added to that of
    every process of the target; `data` are fixed tables, which steps know as `{data.NAME}`; `bounds` what a gate may take.
    """

    run_id: str
    gate: str
    target: Target
    needs: tuple[str, ...]
    config: Mapping[str, object]
    control: tuple[Step, ...]
    scenario: tuple[Step, ...]
    shared: bool
    nominal_ports: bool
    mode: Mode
    defect: str | None
    seed: int
    digests: Mapping[str, str]
    versions: Mapping[str, str]
    directory: Path
    source_root: Path
    toxiproxy: Path | None
    keep: bool
    link_check: bool = False
    attempt: int = 1
    environment: Mapping[str, str] = {}
    data: Mapping[str, object] = {}
    bounds: Bounds = DEFAULT

    def steps(self) -> tuple[tuple[str, tuple[Step, ...]], ...]:
        """The two lists of steps with the prefixes of their ids."""
        return ((CONTROL, self.control), (SCENARIO, self.scenario))


def last_step(plan: Plan) -> str:
    """The id of the step that ends the plan; nothing of a plan without steps."""
    ids = [f"{prefix}.{len(steps) - 1}" for prefix, steps in plan.steps() if steps]
    return ids[-1] if ids else ""


def children(step: Step) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """The lists of steps inside a step, each with its place below the step's id."""
    for field in step.__struct_fields__:
        value = getattr(step, field)
        # Most fields are texts and empty lists, and every step of every gate is asked again and again.
        if type(value) not in (list, tuple) or not value:
            continue
        if all(isinstance(item, Step) for item in value):
            yield field, tuple(value)
        elif all(type(item) in (list, tuple) for item in value):
            for branch, items in enumerate(value):
                if items and all(isinstance(item, Step) for item in items):
                    yield f"{field}.{branch}", tuple(items)


def least_s(steps: Iterable[Step]) -> float:
    """How many seconds a list of steps takes at the least, as far as that is known before a run."""
    taken_s = 0.0
    for step in steps:
        begins_s = max(taken_s, step.at.s if step.at is not None else 0.0)
        inside_s = max((least_s(inner) for _, inner in children(step)), default=0.0)
        passes = step.passes()
        taken_s = begins_s + max(step.least_s(), inside_s * (1 if passes is None else passes))
    return taken_s


def walk(steps: tuple[Step, ...], prefix: str) -> Iterator[tuple[str, Step]]:
    """Every step with its id, outer ones first, in the order in which they are written."""
    for index, step in enumerate(steps):
        step_id = f"{prefix}.{index}"
        yield step_id, step
        for place, inner in children(step):
            yield from walk(inner, f"{step_id}.{place}")


def all_steps(plan: Plan) -> Iterator[tuple[str, Step]]:
    """Every step of the plan with its id."""
    for prefix, steps in plan.steps():
        yield from walk(steps, prefix)

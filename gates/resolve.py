"""A gate with everything filled in that it takes from other files: what is linted, frozen and run."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from chaos.engine.plan import children
from chaos.spec.document import Document, Path
from chaos.spec.loader import closest
from chaos.spec.step import Step
from chaos.spec.target import Target
from chaos.steps.repeat import Repeat
from chaos.steps.use import Use
from gates.spec.gate import Gate
from gates.spec.scenario import ScenarioFile
from gates.views import used_views

Scenarios = Mapping[str, ScenarioFile]


def resolved(gate: Gate, scenarios: Scenarios, target: Target | None, document: Document) -> Gate:
    """The gate with the steps of scenarios and the views of its target that it uses; problems go to its document."""
    filler = _Filler(scenarios, document)
    views = target.views if target is not None else {}
    for key, named in (("with", gate.with_), ("data", gate.data)):
        for name in sorted(views.keys() & named.keys()):
            document.problem((key, name), f"{name} is a view of target {gate.target!r} already")
    return msgspec.structs.replace(
        gate,
        control=filler.filled_in(gate.control, ("control",)),
        scenario=filler.filled_in(gate.scenario, ("scenario",)),
        with_={**used_views(gate, views), **gate.with_},
    )


def complain_about_gifts(scenario: ScenarioFile, scenarios: Scenarios, document: Document) -> None:
    """A scenario gives what its own steps capture, or what those that it uses give."""
    filler = _Filler(scenarios, Document(document.file, ""))
    known = captured(filler.filled_in(scenario.steps, ("steps",)))
    for index, name in enumerate(scenario.gives):
        if name not in known:
            message = f"scenario {scenario.scenario!r} gives {name!r}, which no step of it captures"
            document.problem(("gives", index), message, closest(name, known))


def captured(steps: list[Step]) -> set[str]:
    """Variables that are set once the steps have been walked: what is captured in a `repeat` stays there."""
    found: set[str] = set()
    for step in steps:
        found |= step.capture.keys()
        if isinstance(step, Use):
            found |= set(step.gives)
        elif not isinstance(step, Repeat):
            found = found.union(*(captured(list(inner)) for _, inner in children(step)))
    return found


class _Filler(Struct, frozen=True):
    """Fills in scenarios. What is wrong inside of one is told where it is used."""

    scenarios: Scenarios
    document: Document

    def filled_in(self, steps: list[Step], path: Path, above: tuple[str, ...] = ()) -> list[Step]:
        """The steps with those of every scenario; `above` are the scenarios that they stand in."""

        def fill_in(step: Step, place: Path) -> Step:
            if not isinstance(step, Use):
                return step
            problem = self.wrong_use(step, above)
            if problem is not None:
                self.document.problem((*place, "use"), *problem)
                return step
            scenario = self.scenarios[step.use]
            inner = self.filled_in(scenario.steps, (*place, "steps"), (*above, step.use))
            return msgspec.structs.replace(step, steps=inner, gives=scenario.gives)

        return map_steps(steps, path, fill_in)

    def wrong_use(self, step: Use, above: tuple[str, ...]) -> tuple[str, str | None] | None:
        """(message, hint) of what is wrong with using a scenario, or None."""
        scenario = self.scenarios.get(step.use)
        where = f"in scenario {above[-1]!r}: " if above else ""
        if scenario is None:
            return f"{where}unknown scenario {step.use!r}", closest(step.use, self.scenarios)
        if step.use in above:
            return f"scenario {step.use!r} uses itself", None
        if step.steps or step.gives:
            key = "steps" if step.steps else "gives"
            return f"{where}the `{key}` of a `use` come from its scenario's file", None
        if set(step.with_) != set(scenario.args):
            wanted = f"`with` for {', '.join(scenario.args)}" if scenario.args else "no `with`"
            return f"{where}scenario {step.use!r} takes {wanted}", None
        return None


StepMap = Callable[[Step, Path], Step]


def map_steps(steps: list[Step], path: Path, change: StepMap) -> list[Step]:
    """The same steps, each replaced by `change`, inner ones first."""
    result = []
    for index, step in enumerate(steps):
        here = (*path, index)
        fields: dict[str, object] = {}
        for name in step.__struct_fields__:
            value = getattr(step, name)
            if isinstance(value, list) and value and isinstance(value[0], Step):
                fields[name] = map_steps(value, (*here, name), change)
            elif isinstance(value, list) and value and isinstance(value[0], list):
                fields[name] = [
                    map_steps(branch, (*here, name, number), change)
                    for number, branch in enumerate(value)
                ]
        result.append(change(msgspec.structs.replace(step, **fields) if fields else step, here))
    return result

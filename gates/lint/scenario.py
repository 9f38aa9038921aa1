"""What can be known to be wrong with a scenario file, for every target whose gates use it."""

from collections.abc import Iterable

from chaos.engine.plan import walk
from chaos.errors import Problem
from chaos.spec.document import Document
from chaos.spec.step import Step
from chaos.spec.target import Target
from chaos.steps.use import Use
from gates.lint.steps import Located, StepsLint, located, target_variables
from gates.lint.variables import VariablesLint
from gates.spec.project import Project
from gates.spec.resolve import filled_scenario

STEPS = ("steps",)


def lint_scenarios(project: Project) -> list[Problem]:
    """Everything wrong with the steps of scenarios, each problem once.

    A scenario rests on its arguments, on what it captures and on its target, not on where it is used.
    """
    found: list[Problem] = []
    for name, scenario in project.scenarios.items():
        document = scenario.document
        before = len(document.problems)
        steps = filled_scenario(scenario.file, project.scenarios)
        for target in _targets(name, project):
            own = list(located(steps, STEPS, written=True))
            StepsLint(target, document).run(own)
            known = target_variables(target) | set(scenario.file.args)
            VariablesLint(document, {}).run([(STEPS, steps)], known)
            lint_uses(own, project, target, document)
        found += document.problems[before:]
        del document.problems[before:]
    return list(dict.fromkeys(found))


def lint_uses(
    steps: Iterable[Located], project: Project, target: Target, document: Document
) -> None:
    """What is wrong with scenarios as these steps use them, and is not with their defaults."""
    for path, step in steps:
        scenario = project.scenarios.get(step.use) if isinstance(step, Use) else None
        if isinstance(step, Use) and scenario is not None and scenario.file.args:
            known = _problems(filled_scenario(scenario.file, project.scenarios), target)
            for message, hint in _problems(step.steps, target).items():
                if message not in known:
                    told = f"scenario {step.use!r} cannot be used so: {message}"
                    document.problem((*path, "with"), told, hint)


def _problems(steps: list[Step], target: Target) -> dict[str, str | None]:
    """Everything wrong with the names in filled-in steps, with what was probably meant."""
    document = Document("", "")
    everything = list(located(steps, STEPS))
    StepsLint(target, document).run(everything)
    names = VariablesLint(document, {})
    for path, step in everything:
        names.names(step, path)
    return {problem.message: problem.hint for problem in document.problems}


def _targets(name: str, project: Project) -> list[Target]:
    """The targets of all gates that use a scenario, and that of the release."""
    names = {project.release.target} if project.release is not None else set()
    names |= {
        gate.target
        for gate in project.gates.values()
        for _, step in walk((*gate.control, *gate.scenario), "")
        if isinstance(step, Use) and step.use == name
    }
    return [project.targets[target] for target in sorted(names) if target in project.targets]

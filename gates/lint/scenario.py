"""What can be known to be wrong with a scenario file, for every target whose gates use it."""

from chaos.engine.plan import walk
from chaos.errors import Problem
from chaos.spec.target import Target
from chaos.steps.use import Use
from gates.lint.steps import StepsLint, located, target_variables
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
        document = project.scenario_documents[name]
        before = len(document.problems)
        steps = filled_scenario(scenario, project.scenarios)
        for target in _targets(name, project):
            StepsLint(target, document).run(list(located(steps, STEPS, written=True)))
            known = target_variables(target) | set(scenario.args)
            VariablesLint(document, {}).run([(STEPS, steps)], known)
        found += document.problems[before:]
        del document.problems[before:]
    return list(dict.fromkeys(found))


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

"""A gate with everything filled in that it takes from other files: what is linted, frozen and run."""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct

from chaos.engine.plan import children
from chaos.errors import Problem, SpecError
from chaos.spec.document import Document, Path
from chaos.spec.loader import closest
from chaos.spec.step import Defaults, Step
from chaos.spec.target import Target
from chaos.spec.variables import placeholders
from chaos.steps import KINDS
from chaos.steps.use import Use
from gates.spec.assertion import Assertion, Named
from gates.spec.braces import without_variables
from gates.spec.data_files import DataFiles, Rows
from gates.spec.defaults import Spreader
from gates.spec.gate import DataFile, Gate
from gates.spec.mapping import map_steps
from gates.spec.scenario import Scenario, ScenarioFile
from gates.spec.views import used_views

Scenarios = Mapping[str, Scenario]


def resolved(
    gate: Gate, scenarios: Scenarios, target: Target | None, files: DataFiles, document: Document
) -> Gate:
    """The gate with its defaults, the steps of scenarios, the views of its target and the rows of files of data.

    What is wrong is told in the gate's document.
    """
    filler = _Filler(scenarios, Spreader(target, document), document)
    views = target.views if target is not None else {}
    for key, named in (("with", gate.with_), ("data", gate.data)):
        for name in sorted(views.keys() & named.keys()):
            document.problem((key, name), f"{name} is a view of target {gate.target!r} already")
    defaults = filler.spreader.usable(gate.defaults, ("defaults",))
    return msgspec.structs.replace(
        gate,
        control=filler.filled_in(gate.control, defaults, ("control",)),
        scenario=filler.filled_in(gate.scenario, defaults, ("scenario",)),
        with_={**used_views(gate, views), **dict(_queries(gate, document))},
        data=dict(_data(gate, files, document)),
        assert_=[
            _asserted(assertion, ("assert", index), document)
            for index, assertion in enumerate(gate.assert_)
        ],
        host=[_asserted(check, ("host", index), document) for index, check in enumerate(gate.host)],
    )


def resolved_target(target: Target, document: Document) -> Target:
    """The target with its SQL as it is run."""
    views = {
        name: msgspec.structs.replace(
            view, query=without_variables(view.query, ("views", name, "query"), document)
        )
        for name, view in target.views.items()
    }
    return msgspec.structs.replace(target, views=views)


def _queries(gate: Gate, document: Document) -> Iterator[tuple[str, Named]]:
    for name, named in gate.with_.items():
        query = without_variables(named.query, ("with", name, "query"), document)
        yield name, msgspec.structs.replace(named, query=query)


def _asserted(assertion: Assertion, path: Path, document: Document) -> Assertion:
    """The assertion with its SQL as it is run."""
    changes = {}
    for field in ("from_", "every", "none", "share", "value", "is_"):
        text = getattr(assertion, field)
        if text is not None:
            changes[field] = without_variables(text, (*path, field.rstrip("_")), document)
    return msgspec.structs.replace(assertion, **changes)


def _data(
    gate: Gate, files: DataFiles, document: Document
) -> Iterator[tuple[str, Rows | DataFile]]:
    for name, written in gate.data.items():
        rows: Rows | DataFile = written
        if isinstance(written, DataFile):
            try:
                rows = files.rows_of(written.from_)
            except ValueError as error:
                document.problem(("data", name, "from"), str(error))
        yield name, rows


def filled_scenario(scenario: ScenarioFile, scenarios: Scenarios) -> list[Step]:
    """The steps of a scenario as whoever uses it gets them; what is wrong with that is told there."""
    nowhere = Document("", "")
    filler = _Filler(scenarios, Spreader(None, nowhere), nowhere)
    return filler.filled_in(scenario.steps, scenario.defaults or Defaults(), ("steps",))


def complain_about_gifts(scenario: ScenarioFile, scenarios: Scenarios, document: Document) -> None:
    """A scenario gives what its own steps capture, or what those that it uses give."""
    known = captured(filled_scenario(scenario, scenarios))
    for index, name in enumerate(scenario.gives):
        if name not in known:
            message = f"scenario {scenario.scenario!r} gives {name!r}, which no step of it captures"
            document.problem(("gives", index), message, closest(name, known))


def captured(steps: list[Step]) -> set[str]:
    """Variables that are set once the steps have been walked: what is captured in a step whose kind keeps it stays there."""
    found: set[str] = set()
    for step in steps:
        found |= {*step.capture, *step.given()}
        if not KINDS[type(step)].keeps:
            found = found.union(*(captured(list(inner)) for _, inner in children(step)))
    return found


class _Filler(Struct, frozen=True):
    """Fills in scenarios. That one cannot be filled in is told where it is used."""

    scenarios: Scenarios
    spreader: Spreader
    document: Document

    def filled_in(
        self, steps: list[Step], defaults: Defaults, path: Path, above: tuple[str, ...] = ()
    ) -> list[Step]:
        """The steps of a file with its defaults and with the steps of scenarios; `above` are those that they stand in."""

        def fill_in(step: Step, place: Path) -> Step:
            if not isinstance(step, Use):
                return step
            problem = self.wrong_use(step, above)
            if problem is not None:
                self.document.problem((*place, "use"), *problem)
                return step
            arguments = self.scenarios[step.use].file.with_defaults(step.with_)
            scenario = self.with_arguments(step.use, arguments, (*place, "with"))
            if scenario is None:
                return step
            own = self.spreader.usable(scenario.defaults, (*place, "use"))
            inner = self.filled_in(scenario.steps, own, (*place, "steps"), (*above, step.use))
            return msgspec.structs.replace(step, steps=inner, gives=scenario.gives, with_=arguments)

        # A scenario is the same wherever it is used: it does not take the defaults of another file.
        return map_steps(self.spreader.spread(steps, defaults, path), path, fill_in)

    def with_arguments(
        self, name: str, arguments: Mapping[str, object], place: Path
    ) -> ScenarioFile | None:
        """A scenario with arguments; None, which is told where they are given, where they do not fit."""
        try:
            return self.scenarios[name].with_arguments(arguments)
        except SpecError as error:
            told: dict[str, Problem] = {}
            for problem in error.problems:
                used = placeholders(problem.source[problem.column - 1 :])
                told.setdefault(next((each for each in used if each in arguments), ""), problem)
            for argument, problem in told.items():
                message = f"in line {problem.line} of scenario {name!r}: {problem.message}"
                self.document.problem((*place, argument), message, problem.hint)
            return None

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
        return self.wrong_arguments(step, scenario.file, where)

    def wrong_arguments(
        self, step: Use, scenario: ScenarioFile, where: str
    ) -> tuple[str, str | None] | None:
        """(message, hint) of an argument too many or too few, or None."""
        strange = next((name for name in step.with_ if name not in scenario.args), None)
        missing = set(scenario.args) - scenario.with_defaults(step.with_).keys()
        if strange is None and not missing:
            return None
        wanted = f"`with` for {', '.join(scenario.args)}" if scenario.args else "no `with`"
        hint = closest(strange, scenario.args) if strange is not None else None
        return f"{where}scenario {step.use!r} takes {wanted}", hint

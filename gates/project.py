"""All specs of a project, read together so that every error is reported in one pass."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from chaos.errors import Problem, SpecError, errors_among
from chaos.spec.document import Document
from chaos.spec.loader import Choose, closest, load
from chaos.spec.step import Spec, Step
from chaos.spec.target import Target
from chaos.steps import choose_step
from chaos.steps.use import Use
from gates.judged import judged_of, sha256_of
from gates.spec.assertion import Judged
from gates.spec.gate import Gate
from gates.spec.release import Release

S = TypeVar("S", bound=Struct)
GATES = "gates"
"""The folder of the gates below a directory of specs."""

CHOOSERS: Mapping[type[Struct], Choose] = {Step: choose_step}


class ScenarioFile(Spec, frozen=True, kw_only=True):
    """Steps that several gates use; `args` names the arguments that `use … with` must give."""

    scenario: str
    title: str = ""
    args: list[str] = []
    steps: list[Step]


class Project:
    """The specs below one directory: `release.yaml`, `targets/`, `scenarios/`, `gates/`.

    `problems` holds everything that is wrong with reading them; `documents` the places of each gate's values.
    """

    def __init__(self, specs: Path) -> None:
        self.specs = specs
        self.problems: list[Problem] = []
        self.documents: dict[str, Document] = {}
        self.files: dict[str, Path] = {}
        self.targets: dict[str, Target] = {}
        self.target_documents: dict[str, Document] = {}
        self.scenarios: dict[str, ScenarioFile] = {}
        self.gates: dict[str, Gate] = {}
        self.by_id: dict[str, str] = {}
        self.release: Release | None = None
        self.release_document: Document | None = None
        self._judged: dict[str, Judged] = {}
        self._target_digests: dict[str, str] = {}

    def judged(self, name: str) -> Judged:
        """What the judge needs to know of a gate, its digest included."""
        if name not in self._judged:
            gate = self.gates[name]
            self._judged[name] = judged_of(gate, self.targets[gate.target])
        return self._judged[name]

    def target_digest(self, name: str) -> str:
        """SHA-256 of a target, in hex."""
        if name not in self._target_digests:
            self._target_digests[name] = sha256_of(self.targets[name])
        return self._target_digests[name]

    @property
    def root(self) -> Path:
        """The directory that `source` paths and processes start from: the one that holds `specs`."""
        for parent in (self.specs, *self.specs.parents):
            if (parent / "pyproject.toml").exists():
                return parent
        return self.specs.parent

    def gate_by(self, name_or_id: str) -> str | None:
        """The name of a gate by its name or id, or None."""
        found = (name for name, gate in self.gates.items() if name_or_id in (name, gate.id))
        return next(found, None)

    def raise_problems(self) -> None:
        """SpecError when there is any error."""
        if errors_among(self.problems):
            raise SpecError(self.problems)


def read_project(specs: Path) -> Project:
    """Read everything below `specs`; problems are collected, not raised."""
    project = Project(specs.resolve())
    if not specs.is_dir():
        project.problems.append(Problem(str(specs), 1, 1, "there is no such directory of specs"))
        return project
    release = project.specs / "release.yaml"
    if release.exists():
        project.release, project.release_document = _read(project, release, Release)
    _read_named(project, "targets", Target, project.targets, "target", project.target_documents)
    _read_named(project, "scenarios", ScenarioFile, project.scenarios, "scenario", {})
    for path in sorted((project.specs / GATES).rglob("*.yaml")):
        _read_gate(project, path)
    return project


def _read_named(
    project: Project,
    folder: str,
    struct: type[S],
    into: dict[str, S],
    key: str,
    documents: dict[str, Document],
) -> None:
    for path in sorted((project.specs / folder).glob("*.yaml")):
        value, document = _read(project, path, struct)
        if value is None or document is None:
            continue
        name = getattr(value, key)
        if name != path.stem:
            document.problem((key,), f"{key} {name!r} must be named like its file, {path.stem!r}")
            project.problems += document.problems
        into[name] = value
        documents[name] = document


def _read_gate(project: Project, path: Path) -> None:
    gate, document = _read(project, path, Gate)
    if gate is None or document is None:
        return
    before = len(document.problems)
    if gate.gate != path.stem:
        document.problem(
            ("gate",), f"gate {gate.gate!r} must be named like its file, {path.stem!r}"
        )
    if gate.gate in project.gates:
        document.problem(
            ("gate",), f"there is another gate {gate.gate!r} in {project.files[gate.gate]}"
        )
    clash = project.by_id.setdefault(gate.id, gate.gate)
    if clash != gate.gate:
        document.problem(("id",), f"gate {clash!r} has the id {gate.id!r} already")
    project.problems += document.problems[before:]
    gate = _resolve(gate, project, document)
    project.gates.setdefault(gate.gate, gate)
    project.documents.setdefault(gate.gate, document)
    project.files.setdefault(gate.gate, path)


def _read(project: Project, path: Path, struct: type[S]) -> tuple[S | None, Document | None]:
    try:
        value, document = load(path, struct, CHOOSERS)
    except SpecError as error:
        project.problems += [_relative(problem) for problem in error.problems]
        return None, None
    document.file = _shown(path)
    return value, document


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _relative(problem: Problem) -> Problem:
    return msgspec.structs.replace(problem, file=_shown(Path(problem.file)))


def _resolve(gate: Gate, project: Project, document: Document) -> Gate:
    """The gate with the steps of every scenario it uses filled in."""
    before = len(document.problems)
    resolved = msgspec.structs.replace(
        gate,
        control=_filled_in(gate.control, ("control",), project, document),
        scenario=_filled_in(gate.scenario, ("scenario",), project, document),
    )
    project.problems += document.problems[before:]
    return resolved


def _filled_in(
    steps: list[Step],
    path: tuple[str | int, ...],
    project: Project,
    document: Document,
    above: tuple[str, ...] = (),
) -> list[Step]:
    """The steps with those of every scenario filled in; `above` are the scenarios that they stand in."""

    def fill_in(step: Step, place: tuple[str | int, ...]) -> Step:
        if not isinstance(step, Use):
            return step
        problem = _wrong_use(step, project, above)
        if problem is not None:
            document.problem((*place, "use"), *problem)
            return step
        scenario = project.scenarios[step.use]
        inner = _filled_in(scenario.steps, (*place, "steps"), project, document, (*above, step.use))
        return msgspec.structs.replace(step, steps=inner)

    # What is wrong inside of a scenario is told where a gate uses it.
    return map_steps(steps, path, fill_in)


def _wrong_use(
    step: Use, project: Project, above: tuple[str, ...]
) -> tuple[str, str | None] | None:
    """(message, hint) of what is wrong with using a scenario, or None."""
    scenario = project.scenarios.get(step.use)
    where = f"in scenario {above[-1]!r}: " if above else ""
    if scenario is None:
        return f"{where}unknown scenario {step.use!r}", closest(step.use, project.scenarios)
    if step.use in above:
        return f"scenario {step.use!r} uses itself", None
    if step.steps:
        return f"{where}the `steps` of a `use` come from its scenario's file", None
    if set(step.with_) != set(scenario.args):
        wanted = f"`with` for {', '.join(scenario.args)}" if scenario.args else "no `with`"
        return f"{where}scenario {step.use!r} takes {wanted}", None
    return None


StepMap = Callable[[Step, tuple[str | int, ...]], Step]


def map_steps(steps: list[Step], path: tuple[str | int, ...], change: StepMap) -> list[Step]:
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

"""All specs of a project, read together so that every error is reported in one pass."""

import contextlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from chaos.errors import Problem, SpecError, errors_among
from chaos.spec.bounds import DEFAULT, Bounds
from chaos.spec.document import Document
from chaos.spec.loader import load
from chaos.spec.target import Target
from gates.spec.assertion import Judged
from gates.spec.data_files import DataFiles
from gates.spec.gate import Gate
from gates.spec.release import Release
from gates.spec.resolve import complain_about_gifts, resolved, resolved_target
from gates.spec.scenario import CHOOSERS, Scenario, ScenarioFile
from gates.spec.snapshot import judged_of, sha256_of

S = TypeVar("S", bound=Struct)
GATES = "gates"
"""The folder of the gates below a directory of specs."""
SUFFIX: Final = ".yaml"
KINDS: Final[Mapping[str, str]] = {"targets": "target", "scenarios": "scenario", GATES: "gate"}
"""Each folder of specs, with the key that names what a file in it is."""
STRUCTS: Final[Mapping[str, type[Struct]]] = {
    "gate": Gate,
    "target": Target,
    "scenario": ScenarioFile,
    "release": Release,
}


class Project:
    """The specs below one directory: `release.yaml`, `targets/`, `scenarios/`, `gates/`.

    `problems` holds everything that is wrong with reading them; `documents` the places of each gate's values, `tried` the
    files that were read, with whatever success, `texts` what each held that was read well.
    """

    def __init__(self, specs: Path) -> None:
        self.specs = specs
        self.problems: list[Problem] = []
        self.texts: dict[Path, str] = {}
        self.tried: set[Path] = set()
        self.documents: dict[str, Document] = {}
        self.files: dict[str, Path] = {}
        self.targets: dict[str, Target] = {}
        self.target_documents: dict[str, Document] = {}
        self.scenarios: dict[str, Scenario] = {}
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
    def bounds(self) -> Bounds:
        """What a gate may take."""
        return self.release.bounds if self.release is not None else DEFAULT

    @cached_property
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
    read_shared(project)
    for path in sorted((project.specs / GATES).rglob(f"*{SUFFIX}")):
        read_gate(project, path)
    _complain_about_names(project)
    return project


def _complain_about_names(project: Project) -> None:
    """A spec that nobody reads is one that nobody misses."""
    for folder in KINDS:
        for path in sorted((project.specs / folder).rglob("*.yml")):
            message = f"it is not read: the names of specs end in {SUFFIX}"
            project.tried.add(path)
            project.problems.append(Problem(_shown(path), 1, 1, message))


def read_spec(project: Project, path: Path, kind: str) -> None:
    """A file of some kind for nothing but its problems."""
    _read(project, path, STRUCTS[kind])


def read_shared(project: Project) -> None:
    """All but the gates."""
    release = project.specs / "release.yaml"
    if release.exists():
        project.release, project.release_document = _read(project, release, Release)
    _read_named(project, "targets", Target, project.targets, "target", project.target_documents)
    for name, target in project.targets.items():
        with _telling(project, project.target_documents[name]) as document:
            project.targets[name] = resolved_target(target, document)
    files: dict[str, ScenarioFile] = {}
    documents: dict[str, Document] = {}
    _read_named(project, "scenarios", ScenarioFile, files, "scenario", documents)
    project.scenarios = {name: Scenario(file, documents[name]) for name, file in files.items()}
    for scenario in project.scenarios.values():
        with _telling(project, scenario.document) as document:
            complain_about_gifts(scenario.file, project.scenarios, document)


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


def read_gate(project: Project, path: Path) -> None:
    """One gate, with what it takes from elsewhere."""
    gate, document = _read(project, path, Gate)
    if gate is None or document is None:
        return
    target = project.targets.get(gate.target)
    with _telling(project, document):
        _complain_about_frame(gate, path, project, document)
        files = DataFiles(project.specs, project.texts)
        gate = resolved(gate, project.scenarios, target, files, document)
    project.gates.setdefault(gate.gate, gate)
    project.documents.setdefault(gate.gate, document)
    project.files.setdefault(gate.gate, path)


def _complain_about_frame(gate: Gate, path: Path, project: Project, document: Document) -> None:
    """A gate is named like its file, and no other has its name or id."""
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


@contextlib.contextmanager
def _telling(project: Project, document: Document) -> Iterator[Document]:
    """What is complained about in the document meanwhile is a problem of the project."""
    before = len(document.problems)
    yield document
    project.problems += document.problems[before:]


def _read(project: Project, path: Path, struct: type[S]) -> tuple[S | None, Document | None]:
    project.tried.add(path)
    try:
        value, document = load(path, struct, CHOOSERS)
    except SpecError as error:
        project.problems += [_relative(problem) for problem in error.problems]
        return None, None
    document.file = _shown(path)
    project.texts[path] = document.text
    return value, document


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _relative(problem: Problem) -> Problem:
    return msgspec.structs.replace(problem, file=_shown(Path(problem.file)))

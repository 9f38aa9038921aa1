"""The specs of a session as they were when it was opened: the text of each file, below one directory.

A worker runs what was linted, whatever has become of the files since; it reads only the gates that it runs. The same files are
shipped with a release, and whoever checks it reads them with the same reader.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from chaos.errors import HarnessError, errors_among
from gates.spec.gate import Gate
from gates.spec.project import Project, read_gate, read_project, read_shared

FOLDER = "specs"


def freeze(directory: Path, project: Project, gates: Iterable[str]) -> None:
    """Write the files of some gates, and all that they may take something from, as they were read."""
    of_gates = {project.specs / file: name for name, file in project.files.items()}
    wanted = set(gates)
    for path, text in project.texts.items():
        if of_gates.get(path) in wanted or path not in of_gates:
            place = directory / FOLDER / path.relative_to(project.specs)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8", newline="")


def thawed(directory: Path) -> Project:
    """The project that was frozen; HarnessError says what cannot be read of it."""
    project = read_project(directory / FOLDER)
    for problem in errors_among(project.problems):
        raise HarnessError(f"cannot read {problem.file}: line {problem.line}: {problem.message}")
    return project


class FrozenProject(Project):
    """The project of a session, from what was frozen. A gate is there once it was asked for with `thaw`.

    `frozen` are the files of its gates by name, below the specs.
    """

    def __init__(self, directory: Path, frozen: Mapping[str, str]) -> None:
        super().__init__((directory / FOLDER).resolve())
        self._frozen = frozen
        read_shared(self)

    def thaw(self, name: str) -> Gate:
        """One gate of the session."""
        if name not in self.gates:
            read_gate(self, self.specs / self._frozen[name])
        return self.gates[name]

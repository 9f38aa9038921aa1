"""Where in the specs a gate and its assertions are written, for formats that point into files."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from gates.spec.project import Project


class At(Struct, frozen=True):
    """A file, as a path below the root of the repository where it lies there, and a line from 1 on."""

    file: str
    line: int


class Places(Struct, frozen=True):
    """Places of gates by name and of assertions by (gate, what it says); all others are in `release`, if there is one."""

    release: At | None
    gates: Mapping[str, At]
    assertions: Mapping[tuple[str, str], At]

    def of(self, gate: str, that: str | None = None) -> At | None:
        """The place of an assertion, or of its gate where the specs have it no more, or of the release."""
        own = self.assertions.get((gate, that)) if that is not None else None
        return own or self.gates.get(gate, self.release)


def places_of(project: Project) -> Places:
    """All places in a project; specs that cannot be read have none."""
    root = _repository(project)
    gates: dict[str, At] = {}
    assertions: dict[tuple[str, str], At] = {}
    for name, gate in project.gates.items():
        file = _shown(project.files[name], root)
        lines = project.documents[name].places
        gates[name] = At(file, 1)
        for index, assertion in enumerate(gate.assert_):
            place = lines.get(("assert", index))
            assertions[name, assertion.that] = At(file, place.line if place else 1)
    release = project.specs / "release.yaml"
    return Places(At(_shown(release, root), 1) if release.exists() else None, gates, assertions)


def _repository(project: Project) -> Path:
    """What paths are told from: the repository that the specs lie in, of which their project may be a part."""
    above = (parent for parent in project.specs.parents if (parent / ".git").exists())
    return next(above, project.root)


def _shown(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()

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
    """Places of gates by name and of assertions by (gate, what it says); all others are in `release`."""

    release: At
    gates: Mapping[str, At]
    assertions: Mapping[tuple[str, str], At]

    def of(self, gate: str, that: str | None = None) -> At:
        """The place of an assertion, or of its gate where the specs have it no more, or of the release."""
        own = self.assertions.get((gate, that)) if that is not None else None
        return own or self.gates.get(gate, self.release)


def places_of(project: Project) -> Places:
    """All places in a project; specs that cannot be read have none."""
    gates: dict[str, At] = {}
    assertions: dict[tuple[str, str], At] = {}
    for name, gate in project.gates.items():
        file = _shown(project.files[name], project.root)
        lines = project.documents[name].places
        gates[name] = At(file, 1)
        for index, assertion in enumerate(gate.assert_):
            place = lines.get(("assert", index))
            assertions[name, assertion.that] = At(file, place.line if place else 1)
    release = At(_shown(project.specs / "release.yaml", project.root), 1)
    return Places(release, gates, assertions)


def _shown(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()

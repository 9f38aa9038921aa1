"""The specs of a session as they were when it was opened: one file that every worker reads.

A worker runs what was linted, whatever has become of the YAML since; it revives only the gates that it runs.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos.spec.target import Target
from gates.spec.gate import Gate
from gates.spec.project import Project
from gates.spec.revive import revived
from gates.spec.snapshot import as_written

FILE = "specs.json"


class Frozen(Struct, frozen=True, kw_only=True):
    """Gates and targets by name, in their own order, and what is judged of the gates."""

    gates: Mapping[str, msgspec.Raw]
    targets: Mapping[str, msgspec.Raw]
    judged: Mapping[str, msgspec.Raw]


def freeze(directory: Path, project: Project, gates: list[str]) -> None:
    """Write the specs of some gates, with the steps of the scenarios that they use, and of all targets."""
    frozen = Frozen(
        gates={name: msgspec.Raw(as_written(project.gates[name])) for name in gates},
        targets={name: msgspec.Raw(as_written(target)) for name, target in project.targets.items()},
        judged={name: msgspec.Raw(as_written(project.judged(name))) for name in gates},
    )
    (directory / FILE).write_bytes(msgspec.json.encode(frozen))


def write_judged(directory: Path, into: Path) -> None:
    """What is judged of each gate that was frozen in `directory`, as files beside its evidence."""
    into.mkdir()
    for name, snapshot in _read(directory).judged.items():
        (into / f"{name}.json").write_bytes(msgspec.json.format(bytes(snapshot)))


def _read(directory: Path) -> Frozen:
    return msgspec.json.decode((directory / FILE).read_bytes(), type=Frozen)


class FrozenProject(Project):
    """The project of a session, read from what was frozen. A gate is there once it was asked for with `thaw`."""

    def __init__(self, specs: Path, directory: Path) -> None:
        super().__init__(specs)
        self._frozen = _read(directory)
        for name, raw in self._frozen.targets.items():
            target = revived(msgspec.json.decode(raw), Target)
            assert isinstance(target, Target)
            self.targets[name] = target

    def thaw(self, name: str) -> Gate:
        """One gate of the session."""
        if name not in self.gates:
            gate = revived(msgspec.json.decode(self._frozen.gates[name]), Gate)
            assert isinstance(gate, Gate)
            self.gates[name] = gate
        return self.gates[name]

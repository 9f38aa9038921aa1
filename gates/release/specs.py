"""The specs of a release as they are shipped: the files that were frozen when its session was opened."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from chaos.errors import HarnessError
from chaos.spec.target import Target
from gates.judge.connection import Evidence
from gates.judge.integrity import GATE_DIGEST, digests_of
from gates.release.manifest import Flaw
from gates.run.session import Session
from gates.spec.assertion import Judged
from gates.spec.frozen import FOLDER, thawed
from gates.spec.gate import Gate
from gates.spec.release import Release
from gates.spec.snapshot import sha256_of

RELEASE = f"{FOLDER}/release.yaml"
TARGET_DIGEST = "target"
"""The name under which a run records the digest of its target."""


class Specs(Struct, frozen=True, kw_only=True):
    """The gates of a session and all targets, by name, what is judged of each gate, and the release they are of."""

    gates: Mapping[str, Gate]
    targets: Mapping[str, Target]
    judged: Mapping[str, Judged]
    release: Release | None
    files: Mapping[str, str]

    def sources(self) -> list[str]:
        """The folders that the digest of a session's source was taken of."""
        return sorted({source for target in self.targets.values() for source in target.source})


def read_specs(directory: Path) -> Specs:
    """What was shipped; HarnessError when it cannot be read."""
    project = thawed(directory)
    place = project.specs.parent
    for name, gate in project.gates.items():
        if gate.target not in project.targets:
            raise HarnessError(f"the target {gate.target!r} of {name} was not shipped")
    return Specs(
        gates=project.gates,
        targets=project.targets,
        judged={name: project.judged(name) for name in project.gates},
        release=project.release,
        files={name: path.relative_to(place).as_posix() for name, path in project.files.items()},
    )


def spec_flaws(specs: Specs, session: Session, evidence: Evidence) -> Iterator[Flaw]:
    """Whatever of the specs is not what the runs recorded before they began."""
    if sha256_of(specs.release) != session.digests.get("release"):
        yield Flaw(path=RELEASE, problem="it is not the release that was run")
    if sorted(specs.gates) != sorted(session.gates):
        yield Flaw(path=FOLDER, problem="its gates are not those of the session")
    yield from _run_flaws(specs, evidence)


def _run_flaws(specs: Specs, evidence: Evidence) -> Iterator[Flaw]:
    for record in evidence.runs():
        digests = digests_of(record.run)
        gate = specs.gates.get(record.run.gate)
        target = specs.targets.get(record.run.target)
        if gate is not None and digests.get(GATE_DIGEST) != sha256_of(gate):
            path = specs.files[record.run.gate]
            yield Flaw(path=path, problem="it is not the gate that was run")
        if target is None or digests.get(TARGET_DIGEST) != sha256_of(target):
            path = f"{FOLDER}/targets/{record.run.target}.yaml"
            yield Flaw(path=path, problem=f"it is not the target that {record.run.gate} was run on")

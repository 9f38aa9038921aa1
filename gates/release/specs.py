"""The specs of a release as they are shipped: the canonical JSON that every digest was taken of."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from chaos.spec.target import Target
from gates.judge.connection import Evidence
from gates.judge.integrity import GATE_DIGEST, digests_of
from gates.release.manifest import Flaw
from gates.run.session import Session
from gates.spec.assertion import Judged
from gates.spec.gate import Gate
from gates.spec.release import Release
from gates.spec.revive import read_spec
from gates.spec.snapshot import canonical, judged_of, sha256_of

FOLDER = "specs"
TARGET_DIGEST = "target"
"""The name under which a run records the digest of its target."""


class Specs(Struct, frozen=True, kw_only=True):
    """The gates of a session and all targets, by name."""

    gates: Mapping[str, Gate]
    targets: Mapping[str, Target]

    def sources(self) -> list[str]:
        """The folders that the digest of a session's source was taken of."""
        return sorted({source for target in self.targets.values() for source in target.source})


def write_specs(directory: Path, specs: Specs) -> None:
    """One file per gate and target; the SHA-256 of a file is the digest that runs record."""
    for folder, named in (("gates", specs.gates), ("targets", specs.targets)):
        place = directory / FOLDER / folder
        place.mkdir(parents=True)
        for name, spec in named.items():
            (place / f"{name}.json").write_bytes(canonical(spec))


def read_specs(directory: Path) -> Specs:
    """What was shipped; HarnessError when it cannot be read."""
    place = directory / FOLDER
    return Specs(
        gates={
            path.stem: read_spec(path, Gate) for path in sorted((place / "gates").glob("*.json"))
        },
        targets={
            path.stem: read_spec(path, Target)
            for path in sorted((place / "targets").glob("*.json"))
        },
    )


def spec_flaws(
    directory: Path,
    specs: Specs,
    judged: Mapping[str, Judged],
    release: Release | None,
    session: Session,
    evidence: Evidence,
) -> Iterator[Flaw]:
    """Whatever of the specs is not what the runs recorded before they began, or what was judged."""
    yield from _release_flaws(release, session)
    if sorted(specs.gates) != sorted(judged) or sorted(judged) != sorted(session.gates):
        yield Flaw(path=FOLDER, problem="the gates of the session, of specs/ and of judged/ differ")
        return
    for name, gate in specs.gates.items():
        path = f"{FOLDER}/gates/{name}.json"
        digest = _digest(directory / path)
        if gate.gate != name or digest != sha256_of(gate):
            yield Flaw(path=path, problem="it is not in the form that its digest is taken of")
        target = specs.targets.get(gate.target)
        if target is None:
            yield Flaw(path=path, problem=f"its target {gate.target!r} was not shipped")
        elif _differs(judged_of(gate, target), judged[name]):
            yield Flaw(path=f"judged/{name}.json", problem=f"it is not what {path} says")
    yield from _run_flaws(specs, evidence)


def _differs(again: Judged, shipped: Judged) -> bool:
    """Queries may use those before them, so their order counts for the judge; the shipped one has it."""
    return sha256_of(again) != sha256_of(shipped)


def _release_flaws(release: Release | None, session: Session) -> Iterator[Flaw]:
    if sha256_of(release) != session.digests.get("release"):
        yield Flaw(path="release.json", problem="it is not the release that was run")


def _run_flaws(specs: Specs, evidence: Evidence) -> Iterator[Flaw]:
    for record in evidence.runs():
        digests = digests_of(record.run)
        gate = specs.gates.get(record.run.gate)
        target = specs.targets.get(record.run.target)
        if gate is not None and digests.get(GATE_DIGEST) != sha256_of(gate):
            path = f"{FOLDER}/gates/{record.run.gate}.json"
            yield Flaw(path=path, problem="it is not the gate that was run")
        if target is None or digests.get(TARGET_DIGEST) != sha256_of(target):
            path = f"{FOLDER}/targets/{record.run.target}.json"
            yield Flaw(path=path, problem=f"it is not the target that {record.run.gate} was run on")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

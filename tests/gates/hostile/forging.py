"""Releases whose runs are not those of their session, made by the real code from runs that are written down."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from chaos.evidence import schema
from chaos.evidence.recorder import Recorder, as_json
from gates.run.session import Session
from gates.spec.gate import Gate
from gates.spec.project import Project
from gates.spec.snapshot import sha256_of
from tests.builders.small_release import SmallRelease
from tests.gates.judge.runs import Run

Columns = dict[str, object]
Twist = Callable[[str, Columns, dict[str, str]], None]
"""Changes the first row of a gate's run, and the digests in it, before anything is written."""


class ForgedRelease(SmallRelease):
    """A small release of which some of the runs in its evidence are twisted, those of its proofs excepted."""

    def __init__(
        self, root: Path, twist: Twist, changes: Mapping[str, str | None] | None = None
    ) -> None:
        super().__init__(root, changes)
        self.twist = twist

    def record(
        self,
        directory: Path,
        session: Session,
        project: Project,
        gate: Gate,
        status: int,
        source: str | None = None,
        **changes: object,
    ) -> str:
        """As it would be recorded, but for the twist."""
        if source is not None:
            return super().record(directory, session, project, gate, status, source, **changes)
        return twisted(self.twist, directory, session, project, gate, status)


def twisted(
    twist: Twist, directory: Path, session: Session, project: Project, gate: Gate, status: int
) -> str:
    """Record one run of a gate with a twist; returns its id."""
    digests = {
        **session.digests,
        "gate": sha256_of(gate),
        "target": sha256_of(project.targets[gate.target]),
    }
    columns: Columns = {
        "target": "shop",
        "seed": 46,
        "epoch_ms": time.time() * 1000,
        "planned": ["control.0", "scenario.0"],
    }
    twist(gate.gate, columns, digests)
    run = begun(directory, f"0-{gate.gate}-{session.id[-6:]}", gate.gate)
    run.begin(digests=as_json(digests), **columns)  # type: ignore[arg-type]
    for number in range(20):
        run.request(sent_ms=10.0 + number, done_ms=12.0 + number, status=status)
    planned = columns["planned"]
    assert isinstance(planned, list)
    for step in planned:
        run.step(step)
    run.end().close()
    return run.recorder.run_id


def begun(directory: Path, run_id: str, gate: str) -> Run:
    """A run that is recorded into a directory of its own."""
    run = Run.__new__(Run)
    run.directory = directory
    run.recorder = Recorder(directory, run_id, gate, [])
    return run


def exercise(session: Session, *, ended: bool, outcome: str = "ok") -> None:
    """The exercise of the target, with the step that compares the API with its contract."""
    run = begun(session.gate_directory("exercise-shop", 0), "exercise", "exercise-shop")
    digests = as_json({**session.digests, "target": "t"})
    run.begin(
        target="shop",
        seed=46,
        digests=digests,
        epoch_ms=time.time() * 1000,
        planned=["scenario.0"],
    )
    run.step("scenario.0", outcome, name="contract")
    if ended:
        run.end()
    else:
        run.recorder.add(schema.Step, **ENDLESS)
    run.close()


ENDLESS: Columns = {
    "step": "scenario.0",
    "kind": "run",
    "name": None,
    "began_ms": 1.0,
    "ended_ms": 2.0,
    "outcome": "ok",
    "detail": None,
}

"""What has to be tried of a gate, and the key under which each trial is kept."""

from collections.abc import Container

import msgspec
from msgspec import Struct

from gates.prove.evaluate import RACING_SEEDS, Kind
from gates.run import store
from gates.run.session import Session, has_faults
from gates.spec.gate import Gate
from gates.spec.project import Project
from gates.spec.snapshot import sha256_of


class Job(Struct, frozen=True, kw_only=True):
    """One trial that is to be made: of which gate, with which defect if any, with which seed."""

    gate: str
    kind: Kind
    defect: int | None
    seed: int


def jobs_of(gate: Gate, seed: int, stale: Container[str] = ()) -> list[Job]:
    """Every trial that the proof of a gate needs; a racing defect and its control with five seeds.

    Defects that are `stale` cannot be tried.
    """
    racing = any(defect.racing for defect in gate.falsified_by)
    seeds = range(seed, seed + (RACING_SEEDS if racing else 1))
    jobs = [Job(gate=gate.gate, kind="control", defect=None, seed=one) for one in seeds]
    for index, defect in enumerate(gate.falsified_by):
        if defect.defect in stale:
            continue
        own = seeds if defect.racing else seeds[:1]
        jobs += [Job(gate=gate.gate, kind="defect", defect=index, seed=one) for one in own]
    if has_faults(gate):
        jobs.append(Job(gate=gate.gate, kind="sham", defect=None, seed=seed))
    return jobs


def key_of(session: Session, project: Project, job: Job) -> str:
    """Digest of everything that a trial depends on: all inputs of the session, gate and target, the trial itself."""
    gate = project.gates[job.gate]
    parts = {
        "inputs": session.inputs,
        "gate": sha256_of(gate),
        "target": sha256_of(project.targets[gate.target]),
        "job": msgspec.to_builtins(job),
    }
    return store.key_of(job.gate, parts)

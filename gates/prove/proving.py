"""The proofs of a session's gates: made where they are missing, found again, evaluated, shipped."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from chaos.evidence.sealing import seal
from gates.judge.result import GateVerdict
from gates.prove.evaluate import GateProof, Proofs, Trial, evaluate
from gates.prove.jobs import Job, jobs_of, key_of
from gates.prove.kept import Kept, find
from gates.prove.runner import Done, run_jobs
from gates.run.session import Session, collected_of, exercise_name, has_faults
from gates.run.store import Store
from gates.spec.edits import stale_among
from gates.spec.project import Project

FILE = "proofs.json"


def carry_out(
    session: Session, project: Project, store: Store, console: Console, *, again: bool
) -> list[Done]:
    """All trials of a session's gates, made where none is kept, or `again`."""
    done = run_jobs(session, project, _wanted(session, project), store, console, again=again)
    store.prune()
    return done


def kept_of(session: Session, project: Project, store: Store) -> list[Kept]:
    """The trials of a session's gates that were made at its inputs, whenever that was."""
    found = (find(store, key) for key in _wanted(session, project).values())
    return [kept for kept in found if kept is not None]


def _wanted(session: Session, project: Project) -> dict[Job, str]:
    """Every trial that a session's gates need, with its key."""
    stale = stale_of(session, project)
    return {
        job: key_of(session, project, job)
        for name in session.gates
        for job in jobs_of(project.gates[name], session.options.seed, stale[name])
    }


def stale_of(session: Session, project: Project) -> dict[str, dict[str, str]]:
    """Why defects of a session's gates are stale, by gate and name."""
    root = Path(session.root)
    return {name: stale_among(project.gates[name].falsified_by, root) for name in session.gates}


def evaluated(
    session: Session, project: Project, trials: Sequence[tuple[Trial, GateVerdict]]
) -> list[GateProof]:
    """The proofs of a session's gates from all of its trials."""
    stale = stale_of(session, project)
    proofs = []
    for name in session.gates:
        gate = project.gates[name]
        proofs.append(
            evaluate(
                name,
                [assertion.that for assertion in gate.assert_],
                [assertion.that for assertion in gate.assert_ if assertion.killed_by_sham],
                gate.falsified_by,
                [(trial, verdict) for trial, verdict in trials if trial.gate == name],
                needs_sham=has_faults(gate),
                stale=stale[name],
            )
        )
    return proofs


def ship(kept: Sequence[Kept], session: Session, project: Project, out: Path) -> None:
    """Write `proofs.json` and the sealed evidence of these trials to `out`.

    What the links of their targets carry when all is well is part of it: faults are judged by that, too.
    """
    shutil.rmtree(out, ignore_errors=True)
    exercises = [session.gate_directory(exercise_name(name), 0) for name in project.targets]
    directories = [
        *(one.directory for one in kept),
        *(directory for directory in exercises if directory.is_dir()),
    ]
    seal(directories, out / "evidence", collected_of(project.targets))
    proofs = Proofs(
        session=session.id,
        trials=[one.trial for one in kept],
        stale=stale_of(session, project),
    )
    (out / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(proofs)))

"""`python -m gates prove`: runs every defect and sham, and says which gates are proven able to fail."""

import argparse
import shutil
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from chaos.evidence.sealing import seal
from gates.commands import sound_project
from gates.edits import stale_among
from gates.judge.result import GateVerdict
from gates.project import Project
from gates.prove.evaluate import Proofs, Trial, evaluate
from gates.prove.runner import Done, Job, jobs_of, run_jobs
from gates.report import EXIT_FAILED, EXIT_PROMOTE
from gates.session import (
    Options,
    Session,
    collected_of,
    exercise,
    exercise_name,
    has_faults,
    open_session,
)

STORE = "proofs"


def prove(arguments: argparse.Namespace, console: Console) -> int:
    """Prove the chosen gates; exit 1 when one is not proven."""
    options = Options(
        specs=str(arguments.specs.resolve()),
        only=tuple(arguments.only),
        seed=arguments.seed,
        workers=arguments.workers,
    )
    project = sound_project(options)
    session = open_session(options, arguments.runs, lambda text: console.print(text, markup=False))
    exercise(session)
    store = arguments.runs.resolve() / STORE
    proofs, done = carry_out(session, project, store, console, cached=not arguments.no_cache)
    out = session.path / STORE
    ship(proofs, done, session, project, out)
    print_proofs(proofs, project, console)
    console.print(f"proofs: {out / 'proofs.json'}", markup=False)
    return EXIT_PROMOTE if all(gate.proven for gate in proofs.gates) else EXIT_FAILED


def carry_out(
    session: Session, project: Project, store: Path, console: Console, *, cached: bool
) -> tuple[Proofs, list[Done]]:
    """Run all trials of a session's gates and evaluate them."""
    stale = stale_of(session, project)
    jobs = [
        job
        for name in session.gates
        for job in jobs_of(project.gates[name], session.options.seed, stale[name])
    ]
    count = 0

    def tell(job: Job, done: Done, from_cache: bool) -> None:
        nonlocal count
        count += 1
        what = done.trial.defect or job.kind
        red = [result.that for result in done.verdict.assertions if result.status == "FAIL"]
        note = " (cached)" if from_cache else ""
        console.print(
            f"{count:3}/{len(jobs)} {project.gates[job.gate].id} {what}: {done.verdict.status}"
            f"{f', red: {len(red)}' if red else ''}{note}",
            markup=False,
        )

    done = run_jobs(session, jobs, store, session.options.workers, cached=cached, tell=tell)
    trials = [(item.trial, item.verdict) for item in done]
    return evaluate_all(session, project, trials), done


def stale_of(session: Session, project: Project) -> dict[str, dict[str, str]]:
    """Why defects of a session's gates are stale, by gate and name."""
    root = Path(session.root)
    return {name: stale_among(project.gates[name].falsified_by, root) for name in session.gates}


def evaluate_all(
    session: Session, project: Project, trials: list[tuple[Trial, GateVerdict]]
) -> Proofs:
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
    return Proofs(
        session=session.id, trials=[trial for trial, _ in trials], gates=proofs, stale=stale
    )


def ship(proofs: Proofs, done: list[Done], session: Session, project: Project, out: Path) -> None:
    """Write `proofs.json` and the sealed evidence of all trials to `out`.

    What the links of their targets carry when all is well is part of it: faults are judged by that, too.
    """
    shutil.rmtree(out, ignore_errors=True)
    exercises = [session.gate_directory(exercise_name(name), 0) for name in project.targets]
    directories = [
        *(Path(item.directory) for item in done),
        *(directory for directory in exercises if directory.is_dir()),
    ]
    seal(directories, out / "evidence", collected_of(project))
    (out / "proofs.json").write_bytes(msgspec.json.format(msgspec.json.encode(proofs)))


def print_proofs(proofs: Proofs, project: Project, console: Console) -> None:
    """One line per gate, and why it is not proven where it is not."""
    for gate in proofs.gates:
        state = (
            Text("proven  ", style="green") if gate.proven else Text("UNPROVEN", style="bold red")
        )
        killers = sum(proof.proven for proof in gate.proofs)
        line = f" {project.gates[gate.gate].id} {gate.gate}: {killers} of {len(gate.proofs)} defects and shams"
        console.print(Text.assemble(state, line))
        for proof in gate.proofs:
            if not proof.proven:
                console.print(f"         {proof.name}: {proof.why}", markup=False)
        if gate.why is not None and all(proof.proven for proof in gate.proofs):
            console.print(f"         {gate.why}", markup=False)

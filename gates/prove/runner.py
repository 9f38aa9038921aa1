"""Makes the trials of proofs: copies, edits, runs and verdicts, resumable.

A trial that was made at the same inputs is not made again, so an interrupted proof goes on where it stopped.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from rich.console import Console

from chaos.errors import HarnessError
from gates.judge.integrity import MOST_ATTEMPTS
from gates.judge.result import GateVerdict
from gates.prove.copied import Copy, plan_in
from gates.prove.copies import Edit, apply, copy_sources
from gates.prove.evaluate import Trial, is_by_host, nothing_shown
from gates.prove.jobs import Job
from gates.prove.kept import Kept, find
from gates.run.bench import Bench, Said, Task
from gates.run.bytecode import compile_sources
from gates.run.durations import in_order, last_runs
from gates.run.lines import ONLY, telling, told
from gates.run.locks import turn
from gates.run.session import Session
from gates.run.store import Place, Store
from gates.run.tasks import spread
from gates.spec.gate import Gate
from gates.spec.project import Project


class Done(Struct, frozen=True, kw_only=True):
    """A trial with the verdict on its evidence. It was made now at the last of so many `tries`, or kept after none."""

    trial: Trial
    verdict: GateVerdict
    tries: int


class Order(Task[Done], frozen=True, kw_only=True):
    """A trial that is wanted."""

    gives = Done
    job: Job
    place: Place

    def do(self, bench: Bench) -> Done:
        """One trial, kept or made, with its verdict. What was kept and shows nothing is tried again.

        Where the host was too slow to measure on, it is repeated, alone, as a gate would be.
        """
        gate = bench.project.thaw(self.job.gate)
        store, key = self.place.store, self.place.key

        def judged(kept: Kept, tries: int) -> Done:
            verdict = bench.judge(gate, kept.directory, kept.trial.run_id, store.directory)
            return Done(trial=kept.trial, verdict=verdict, tries=tries)

        def tried(tries: int) -> Done:
            with store.making() as place:
                trial = make(bench, gate, self.job, place, alone=tries > 1)
                store.keep(key, place, trial)
            kept = find(store, key)
            if kept is None:
                raise HarnessError(f"the trial {key} is gone from {store.directory}")
            return judged(kept, tries)

        kept = None if self.place.anew else find(store, key)
        if kept is not None:
            done = judged(kept, 0)
            if nothing_shown(done.verdict) is None and not is_by_host(done.verdict):
                return done
        done = tried(1)
        while is_by_host(done.verdict) and done.tries < MOST_ATTEMPTS:
            done = tried(done.tries + 1)
        return done

    def said(self, result: Done) -> Said:
        """Its verdict, and how many of its assertions are red."""
        red = sum(one.status == "FAIL" for one in result.verdict.assertions)
        what = self.label + (f", red: {red}" if red else "")
        return Said(result.verdict.status, what, tries=result.tries)


def run_jobs(
    session: Session,
    project: Project,
    jobs: Mapping[Job, str],
    store: Store,
    console: Console,
    *,
    again: bool,
) -> list[Done]:
    """The trials of all jobs, by their keys, made where they are not kept.

    KeyboardInterrupt when that was interrupted; HarnessError when one could not be carried out at all.
    """
    took = last_runs(session.path.parent)
    ordered = in_order(
        {job: project.gates[job.gate].ever_alone for job in jobs},
        {job: took[job.gate] for job in jobs if job.gate in took},
        min(session.options.workers, len(jobs)),
    )
    orders = [
        Order(
            label=f"{project.gates[job.gate].id} {named(project, job)}",
            job=job,
            place=Place(store, jobs[job], again),
        )
        for job in ordered
    ]
    done = spread(session, orders, console).complete()
    of_job = {order.job: one for order, one in zip(orders, done, strict=True)}
    return [of_job[job] for job in jobs]


def named(project: Project, job: Job) -> str:
    """What a trial is called among those of its gate."""
    if job.defect is None:
        return job.kind
    return project.gates[job.gate].falsified_by[job.defect].defect


def make(bench: Bench, gate: Gate, job: Job, place: Path, *, alone: bool) -> Trial:
    """Run one trial in this process and leave its evidence in `place`."""
    session = bench.session
    target = bench.project.targets[gate.target]
    defect = gate.falsified_by[job.defect] if job.defect is not None else None
    out = place / "lines"
    with tempfile.TemporaryDirectory(prefix="gates-copy-") as scratch:
        root = Path(scratch)
        # Like judging it takes a core, which another gate may have been promised.
        with turn(session.path, exclusive=False):
            copy_sources(Path(session.root), target.source, root)
            edit = apply(defect, root) if defect is not None else None
            compile_sources(root, target.source)
        copy = Copy(
            root=root,
            mode="healthy" if job.kind == "control" else job.kind,
            defect=defect.defect if defect is not None else None,
            seed=job.seed,
            environment=_telling(edit, root, out) if edit is not None else {},
        )
        plan = plan_in(bench, gate, copy, place / gate.gate)
        bench.carry_out(gate, plan, alone=alone)
    return Trial(
        gate=gate.gate,
        kind=job.kind,
        defect=defect.defect if defect is not None else None,
        seed=job.seed,
        run_id=plan.run_id,
        diff=edit.diff if edit is not None else "",
        executed=bool(told(out)) if edit is not None else None,
    )


def _telling(edit: Edit, root: Path, out: Path) -> dict[str, str]:
    return {**telling(root, out), ONLY: f"{edit.file}:{','.join(map(str, edit.lines))}"}

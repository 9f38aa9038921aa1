"""Makes the trials of proofs: copies, edits, runs and verdicts, several at a time, resumable.

A trial that was made at the same inputs is not made again, so an interrupted proof goes on where it stopped.
"""

import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from chaos.errors import HarnessError
from gates.judge.integrity import MOST_ATTEMPTS
from gates.judge.result import GateVerdict
from gates.prove.copied import Copy, carry_out, judged, plan_in
from gates.prove.copies import Edit, apply, copy_sources
from gates.prove.evaluate import Trial, is_by_host, nothing_shown
from gates.prove.jobs import Job
from gates.prove.store import Kept, Store
from gates.run.bytecode import compile_sources
from gates.run.locks import turn
from gates.run.pool import spread
from gates.run.session import Session, load_session
from gates.spec.frozen import FrozenProject
from gates.spec.gate import Gate
from gates.spec.project import Project

BEACON = Path(__file__).resolve().parents[2] / "chaos" / "shims" / "beacon"


class Order(Struct, frozen=True, kw_only=True):
    """A trial that is wanted, and under which key it is kept where; `again` makes it anew whatever is kept."""

    job: Job
    key: str
    store: Store
    again: bool


class Done(Struct, frozen=True, kw_only=True):
    """A trial with the verdict on its evidence. It was made now at the last of so many `tries`, or kept after none."""

    kept: Kept
    verdict: GateVerdict
    tries: int


def run_jobs(
    session: Session,
    project: Project,
    jobs: Mapping[Job, str],
    store: Store,
    *,
    again: bool,
    tell: Callable[[Job, Done], None],
) -> list[Done]:
    """The trials of all jobs, by their keys, made where they are not kept; `tell` hears of each as it is done.

    Raises HarnessError when one could not be carried out at all.
    """
    done: dict[Job, Done] = {}

    def take(order: Order, result: Done) -> None:
        done[order.job] = result
        tell(order.job, result)

    # Whoever is alone makes others wait: one after the other that is once, in between it is every time.
    first = sorted(jobs, key=lambda job: not project.gates[job.gate].exclusive)
    orders = [Order(job=job, key=jobs[job], store=store, again=again) for job in first]
    spread(session.path, session.options.workers, settle, orders, take)
    return [done[job] for job in jobs]


def settle(session_path: str, order: Order) -> Done:
    """One trial, kept or made, with its verdict. What was kept and shows nothing is tried again.

    Where the host was too slow to measure on, it is repeated, alone, as a gate would be.
    """
    session = load_session(session_path)
    project = _frozen(session_path)
    gate = project.thaw(order.job.gate)
    store = order.store

    def verdict_on(kept: Kept) -> GateVerdict:
        return judged(session, project, gate, kept.directory, kept.trial.run_id, store.directory)

    def tried(tries: int) -> Done:
        with store.making() as place:
            trial = _make(session, project, gate, order.job, place, alone=tries > 1)
            store.keep(order.key, place, trial)
        kept = store.find(order.key)
        if kept is None:
            raise HarnessError(f"the trial {order.key} is gone from {store.directory}")
        return Done(kept=kept, verdict=verdict_on(kept), tries=tries)

    kept = None if order.again else store.find(order.key)
    if kept is not None:
        verdict = verdict_on(kept)
        if nothing_shown(verdict) is None and not is_by_host(verdict):
            return Done(kept=kept, verdict=verdict, tries=0)
    done = tried(1)
    while is_by_host(done.verdict) and done.tries < MOST_ATTEMPTS:
        done = tried(done.tries + 1)
    return done


@lru_cache(maxsize=1)
def _frozen(session_path: str) -> FrozenProject:
    """What was frozen when the session was opened, read once per worker."""
    session = load_session(session_path)
    return FrozenProject(session.path, session.frozen)


def _make(
    session: Session, project: Project, gate: Gate, job: Job, place: Path, *, alone: bool
) -> Trial:
    """Run one trial in this process and leave its evidence in `place`."""
    target = project.targets[gate.target]
    defect = gate.falsified_by[job.defect] if job.defect is not None else None
    executed = place / "executed"
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
            environment=_beacon(edit, executed) if edit is not None else {},
        )
        plan = plan_in(session, project, gate, copy, place / gate.gate)
        carry_out(session, gate, plan, alone=alone)
    return Trial(
        gate=gate.gate,
        kind=job.kind,
        defect=defect.defect if defect is not None else None,
        seed=job.seed,
        run_id=plan.run_id,
        diff=edit.diff if edit is not None else "",
        executed=executed.exists() if edit is not None else None,
    )


def _beacon(edit: Edit, out: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(BEACON),
        "CHAOS_BEACON_FILE": edit.file,
        "CHAOS_BEACON_LINES": ",".join(map(str, edit.lines)),
        "CHAOS_BEACON_OUT": str(out),
    }

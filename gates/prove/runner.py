"""Makes the trials of proofs: copies, edits, runs and verdicts, several at a time, resumable.

A trial that was made at the same inputs is not made again, so an interrupted proof goes on where it stopped.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from chaos.errors import HarnessError
from gates.judge.result import GateVerdict
from gates.pool import spread
from gates.project import Project
from gates.prove.copied import Copy, carry_out, judged, plan_in
from gates.prove.copies import Edit, apply, copy_sources
from gates.prove.evaluate import Trial, nothing_shown
from gates.prove.jobs import Job, key_of
from gates.prove.store import Kept, Store
from gates.session import Session, load_session, project_of

BEACON = Path(__file__).resolve().parents[2] / "chaos" / "shims" / "beacon"


class Order(Struct, frozen=True, kw_only=True):
    """A trial that is wanted, and where it is kept; `again` makes it anew whatever is kept."""

    job: Job
    store: Store
    again: bool


class Done(Struct, frozen=True, kw_only=True):
    """A trial with the verdict on its evidence, and whether it was `made` now or had been kept."""

    kept: Kept
    verdict: GateVerdict
    made: bool


def run_jobs(
    session: Session,
    jobs: Sequence[Job],
    store: Store,
    workers: int,
    *,
    again: bool,
    tell: Callable[[Job, Done], None],
) -> list[Done]:
    """The trials of all jobs, made where they are not kept; `tell` hears of each as it is done.

    Raises HarnessError when one could not be carried out at all.
    """
    done: dict[Job, Done] = {}

    def take(order: Order, result: Done) -> None:
        done[order.job] = result
        tell(order.job, result)

    orders = [Order(job=job, store=store, again=again) for job in jobs]
    spread(session.path, workers, settle, orders, take)
    return [done[job] for job in jobs]


def settle(session_path: str, order: Order) -> Done:
    """One trial, kept or made, with its verdict. What was kept and shows nothing is tried again."""
    session = load_session(session_path)
    project = project_of(session.options.specs)
    key = key_of(session, project, order.job)
    kept = None if order.again else order.store.find(key)
    if kept is not None:
        verdict = _verdict(session, project, kept)
        if nothing_shown(verdict) is None:
            return Done(kept=kept, verdict=verdict, made=False)
    with order.store.making() as place:
        order.store.keep(key, place, _make(session, project, order.job, place))
    kept = order.store.find(key)
    if kept is None:
        raise HarnessError(f"the trial {key} is gone from {order.store.directory}")
    return Done(kept=kept, verdict=_verdict(session, project, kept), made=True)


def _verdict(session: Session, project: Project, kept: Kept) -> GateVerdict:
    gate = project.gates[kept.trial.gate]
    return judged(session, project, gate, kept.directory, kept.trial.run_id)


def _make(session: Session, project: Project, job: Job, place: Path) -> Trial:
    """Run one trial in this process and leave its evidence in `place`."""
    gate = project.gates[job.gate]
    target = project.targets[gate.target]
    defect = gate.falsified_by[job.defect] if job.defect is not None else None
    executed = place / "executed"
    with tempfile.TemporaryDirectory(prefix="gates-copy-") as scratch:
        root = Path(scratch)
        copy_sources(Path(session.root), target.source, root)
        edit = apply(defect, root) if defect is not None else None
        copy = Copy(
            root=root,
            mode="healthy" if job.kind == "control" else job.kind,
            defect=defect.defect if defect is not None else None,
            seed=job.seed,
            environment=_beacon(edit, executed) if edit is not None else {},
        )
        plan = plan_in(session, project, gate, copy, place / gate.gate)
        carry_out(session, gate, plan)
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

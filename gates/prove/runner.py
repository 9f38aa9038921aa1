"""Carries out the trials of proofs: copies, edits, runs and verdicts, several at a time, resumable.

Every trial has a directory named by a digest of all that it depends on. One that is finished there is not
run again, so an interrupted proof goes on where it stopped.
"""

import hashlib
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec
from msgspec import Struct

from gates.judge.result import GateVerdict
from gates.judged import canonical, sha256_of
from gates.project import Project
from gates.prove.copied import Copy, carry_out, judged, plan_in
from gates.prove.copies import Edit, apply, copy_sources
from gates.prove.evaluate import RACING_SEEDS, Kind, Trial
from gates.session import (
    Session,
    has_faults,
    load_session,
    project_of,
)
from gates.spec.gate import Gate

BEACON = Path(__file__).resolve().parents[2] / "chaos" / "shims" / "beacon"


class Job(Struct, frozen=True, kw_only=True):
    """One trial that is to be run: of which gate, with which defect if any, with which seed."""

    gate: str
    kind: Kind
    defect: int | None
    seed: int


class Done(Struct, frozen=True, kw_only=True):
    """A trial that was run: where its evidence is, and the verdict on it."""

    trial: Trial
    verdict: GateVerdict
    directory: str


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


def run_jobs(
    session: Session,
    jobs: Sequence[Job],
    store: Path,
    workers: int,
    *,
    cached: bool,
    tell: Callable[[Job, Done, bool], None],
) -> list[Done]:
    """Run every job that is not finished in `store`; `tell` hears of each as it is done.

    Raises HarnessError when one could not be carried out at all.
    """
    project = project_of(session.options.specs)
    places = {job: store / _key(session, project, job) for job in jobs}
    done: dict[Job, Done] = {}
    for job, place in places.items():
        found = _finished(place) if cached else None
        if found is not None:
            done[job] = found
            tell(job, found, True)
    left = [job for job in jobs if job not in done]
    # Spawned, not forked: a forked worker would inherit pipes that tell guards when to act.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=workers, mp_context=context) as pool:
        running = {
            pool.submit(run_job, session.directory, job, str(places[job])): job for job in left
        }
        try:
            for future in as_completed(running):
                job = running[future]
                done[job] = future.result()
                tell(job, done[job], False)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [done[job] for job in jobs]


def run_job(session_path: str, job: Job, place: str) -> Done:
    """Run one trial in this process and leave its evidence and verdict in `place`."""
    session = load_session(session_path)
    project = project_of(session.options.specs)
    gate = project.gates[job.gate]
    target = project.targets[gate.target]
    directory = Path(place)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    defect = gate.falsified_by[job.defect] if job.defect is not None else None
    with tempfile.TemporaryDirectory(prefix="gates-copy-") as scratch:
        root = Path(scratch)
        copy_sources(Path(session.root), target.source, root)
        edit = apply(defect, root) if defect is not None else None
        copy = Copy(
            root=root,
            mode="healthy" if job.kind == "control" else job.kind,
            defect=defect.defect if defect is not None else None,
            seed=job.seed,
            environment=_beacon(edit, directory / "executed") if edit is not None else {},
        )
        plan = plan_in(session, project, gate, copy, directory / gate.gate)
        carry_out(session, gate, plan)
    verdict = judged(session, project, gate, plan, directory)
    trial = Trial(
        gate=gate.gate,
        kind=job.kind,
        defect=defect.defect if defect is not None else None,
        seed=job.seed,
        run_id=plan.run_id,
        diff=edit.diff if edit is not None else "",
        executed=(directory / "executed").exists() if edit is not None else None,
    )
    done = Done(trial=trial, verdict=verdict, directory=str(plan.directory))
    (directory / "done.json").write_bytes(msgspec.json.format(msgspec.json.encode(done)))
    return done


def _beacon(edit: Edit, out: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(BEACON),
        "CHAOS_BEACON_FILE": edit.file,
        "CHAOS_BEACON_LINES": ",".join(map(str, edit.lines)),
        "CHAOS_BEACON_OUT": str(out),
    }


def _key(session: Session, project: Project, job: Job) -> str:
    """Digest of everything that the trial depends on, the defect's own text included."""
    gate = project.gates[job.gate]
    parts = {
        "inputs": session.inputs,
        "gate": sha256_of(gate),
        "target": sha256_of(project.targets[gate.target]),
        "job": msgspec.to_builtins(job),
        "defect": msgspec.to_builtins(gate.falsified_by[job.defect])
        if job.defect is not None
        else None,
    }
    return f"{job.gate}-{hashlib.sha256(canonical(parts)).hexdigest()[:24]}"


def _finished(place: Path) -> Done | None:
    """A trial that was finished there and whose verdict can be relied on to come out again."""
    try:
        done = msgspec.json.decode((place / "done.json").read_bytes(), type=Done)
    except (OSError, msgspec.DecodeError):
        return None
    return done if Path(done.directory).is_dir() and done.verdict.run_id is not None else None

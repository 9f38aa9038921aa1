"""Runs one gate against a copy of the source, changed or not, and judges it: what proofs and mutants share."""

import asyncio
import atexit
import tempfile
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos.engine.plan import Plan
from chaos.engine.run import Worker
from chaos.engine.scope import Alone
from chaos.evidence.schema import Mode
from gates.judge.result import GateVerdict
from gates.run.interrupts import run_async
from gates.run.judging import RunJudge
from gates.run.locks import turn
from gates.run.session import Session, collected_of, exercise_name, plan_of, tree_digest
from gates.spec.gate import Gate
from gates.spec.project import Project
from gates.spec.snapshot import judged_of

SCRATCH = Path(tempfile.gettempdir())


class Copy(Struct, frozen=True, kw_only=True):
    """What is run: the copy below `root`, and what evidence says of it. `environment` is added to its processes'."""

    root: Path
    mode: Mode
    defect: str | None
    seed: int
    environment: Mapping[str, str] = {}


def plan_in(session: Session, project: Project, gate: Gate, copy: Copy, directory: Path) -> Plan:
    """One run of a gate in a copy, recorded in `directory`."""
    plan = plan_of(session, project, gate)
    sources = project.targets[gate.target].source
    return msgspec.structs.replace(
        plan,
        directory=directory,
        seed=copy.seed,
        source_root=copy.root,
        mode=copy.mode,
        defect=copy.defect,
        digests={**plan.digests, "source": tree_digest(copy.root, sources)},
        shared=False,
        environment=copy.environment,
    )


def carry_out(
    session: Session, gate: Gate, plan: Plan, within_s: float | None = None, *, alone: bool = False
) -> tuple[bool, float]:
    """Run it in its turn; returns whether it ended by itself within `within_s`, and after how many seconds.

    Both count from when its turn has come, which is `alone` where the gate or the caller wants it.
    """
    with turn(session.path, exclusive=gate.exclusive or alone, later=gate.later_alone) as held:
        began_s = time.monotonic()
        in_time = run_async(lambda: _run(plan, held.alone, within_s))
        return in_time, time.monotonic() - began_s


def judged(
    session: Session,
    project: Project,
    gate: Gate,
    directory: Path,
    run_id: str,
    below: Path = SCRATCH,
) -> GateVerdict:
    """The verdict on the run whose evidence is in `directory`, in a turn of its own: judging takes a core.

    All runs that this process judges lie somewhere `below`.
    """
    target = project.targets[gate.target]
    exercise = session.gate_directory(exercise_name(target.target), 0)
    with turn(session.path, exclusive=False):
        judge = _judge(session.path, below, msgspec.json.encode(collected_of(project.targets)))
        return judge.judge(directory, exercise, judged_of(gate, target), run_id)


@lru_cache(maxsize=1)
def _judge(session: Path, below: Path, collected: bytes) -> RunJudge:
    """The judge of this process: opening a database costs as much as judging a small run."""
    judge = RunJudge([below, session], msgspec.json.decode(collected))
    atexit.register(judge.close)
    return judge


async def _run(plan: Plan, alone: Alone, within_s: float | None) -> bool:
    worker = Worker("copy")
    try:
        async with asyncio.timeout(within_s):
            await worker.run(plan, alone)
    except TimeoutError:
        return False
    finally:
        await worker.close()
    return True

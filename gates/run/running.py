"""Runs the gates of a session one after the other and judges each at once, in whichever process this is."""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import cached_property

from chaos.engine.run import Worker
from gates.judge.integrity import MOST_ATTEMPTS
from gates.judge.result import GateVerdict
from gates.run.interrupts import run_in
from gates.run.judging import RunJudge
from gates.run.locks import turn
from gates.run.session import Session, collected_of, exercise_name, plan_of
from gates.spec.frozen import FrozenProject


class GateRunner:
    """What a worker keeps between gates."""

    def __init__(self, session: Session, worker: str) -> None:
        self.session = session
        self._name = worker
        self._loop = asyncio.Runner()
        self._worker: Worker | None = None
        self._judge: RunJudge | None = None

    @cached_property
    def project(self) -> FrozenProject:
        """What was frozen when the session was opened."""
        return FrozenProject(self.session.path, self.session.frozen)

    def run(self, name: str, repeat: int = 0, attempt: int = 1) -> GateVerdict:
        """Run one gate and judge its evidence."""
        project = self.project
        gate = project.thaw(name)
        if self._worker is None:
            self._worker = Worker(self._name)
        if self._judge is None:
            self._judge = RunJudge([self.session.path], collected_of(project.targets))
        plan = plan_of(self.session, project, gate, repeat, attempt)
        with turn(self.session.path, exclusive=gate.exclusive, later=gate.later_alone) as held:
            worker = self._worker
            run_in(self._loop, lambda: worker.run(plan, held.alone))
        exercised = self.session.gate_directory(exercise_name(gate.target), 0)
        # Judging takes a core, which another gate may have been promised.
        with turn(self.session.path, exclusive=False):
            return self._judge.judge(plan.directory, exercised, project.judged(name), plan.run_id)

    def close(self) -> None:
        """End what was kept."""
        if self._worker is not None:
            self._loop.run(self._worker.close())
        if self._judge is not None:
            self._judge.close()
        self._loop.close()


def run_again(
    session: Session,
    names: Iterable[str],
    tell: Callable[[str, int, GateVerdict, float], None],
) -> bool:
    """Repeat gates that were UNKNOWN by the host, alone, each until it is not so or has had its attempts.

    `tell` hears of each: gate, number of the attempt, verdict, seconds. Returns whether it was interrupted.
    """
    runner = GateRunner(session, "again")
    try:
        for name in names:
            for attempt in range(2, MOST_ATTEMPTS + 1):
                began_s = time.monotonic()
                verdict = runner.run(name, attempt=attempt)
                tell(name, attempt, verdict, time.monotonic() - began_s)
                if verdict.cause != "host":
                    break
    except KeyboardInterrupt:
        return True
    finally:
        runner.close()
    return False

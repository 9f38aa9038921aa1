"""What the workers of a session do, and what each of them keeps meanwhile.

A task is data: the controlling process writes it down, any worker carries it out, and what comes of it is data again.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from chaos.engine.plan import Plan
from chaos.engine.run import Worker
from chaos.engine.scope import Alone
from gates.judge.result import GateVerdict
from gates.run.interrupts import run_in
from gates.run.judging import RunJudge
from gates.run.locks import turn
from gates.run.session import Session, collected_of, exercise_name
from gates.spec.frozen import FrozenProject
from gates.spec.gate import Gate

R = TypeVar("R")

RESULT: Final = "result"
"""Under this name an item of pytest hands over what came of its task, as JSON."""


def as_json(value: object) -> bytes:
    """A task, or what came of one; paths are their texts."""
    return msgspec.json.encode(value, enc_hook=str)


def from_json(data: bytes | str, kind: type[R]) -> R:
    """The same again."""
    return msgspec.json.decode(data, type=kind, dec_hook=_revived)


def _revived(kind: type[object], value: object) -> object:
    return Path(str(value)) if kind is Path else value


class Bench:
    """What a worker keeps between tasks."""

    def __init__(self, session: Session, worker: str) -> None:
        self.session = session
        self._loop = asyncio.Runner()
        self._name = worker
        self._worker: Worker | None = None
        self._judges: dict[Path, RunJudge] = {}

    @cached_property
    def project(self) -> FrozenProject:
        """What was frozen when the session was opened."""
        return FrozenProject(self.session.path, self.session.frozen)

    def carry_out(
        self, gate: Gate, plan: Plan, *, alone: bool = False, within_s: float | None = None
    ) -> tuple[bool, float]:
        """Run it in its turn; returns whether it ended by itself within `within_s`, and after how many seconds.

        Both count from when its turn has come, which is `alone` where the gate or the caller wants it.
        """
        worker = self._worker = self._worker or Worker(self._name)

        async def run(meanwhile: Alone) -> bool:
            try:
                async with asyncio.timeout(within_s):
                    await worker.run(plan, meanwhile)
            except TimeoutError:
                return False
            return True

        exclusive = gate.exclusive or alone
        with turn(self.session.path, exclusive=exclusive, later=gate.later_alone) as held:
            began_s = time.monotonic()
            in_time = run_in(self._loop, lambda: run(held.alone))
            return in_time, time.monotonic() - began_s

    def judge(
        self, gate: Gate, run: Path, run_id: str | None, below: Path | None = None
    ) -> GateVerdict:
        """The verdict on the run in this directory, in a turn of its own: judging takes a core, which another gate may
        have been promised.

        All runs that are judged with the same `below` lie somewhere below it; without, below the session.
        """
        exercised = self.session.gate_directory(exercise_name(gate.target), 0)
        with turn(self.session.path, exclusive=False):
            judge = self._judge(below or self.session.path)
            return judge.judge(run, exercised, self.project.judged(gate.gate), run_id)

    def _judge(self, below: Path) -> RunJudge:
        """Opening a database costs as much as judging a small run."""
        if below not in self._judges:
            directories = list(dict.fromkeys((below, self.session.path)))
            self._judges[below] = RunJudge(directories, collected_of(self.project.targets))
        return self._judges[below]

    def close(self) -> None:
        """End what was kept."""
        if self._worker is not None:
            self._loop.run(self._worker.close())
        for judge in self._judges.values():
            judge.close()
        self._loop.close()


class Said(Struct, frozen=True):
    """What is said of a task that is done: a word for what it came to, what it was, and a line for each reason.

    It was done at the last of so many `tries`, because the host was slow at those before; after none it was not done
    now, but found as it was done before.
    """

    outcome: str
    what: str
    reasons: Sequence[str] = ()
    tries: int = 1


class Task(Struct, Generic[R], frozen=True, kw_only=True):
    """Something to be done by a worker. `label` says what; by `words` it is selected as well.

    What comes of it is of the kind that it `gives`, which can be written as JSON.
    """

    gives: ClassVar[Any]
    label: str
    words: tuple[str, ...] = ()

    def do(self, bench: Bench) -> R:
        """Do it."""
        raise NotImplementedError

    def said(self, result: R) -> Said:
        """What is said of it afterwards."""
        raise NotImplementedError

    def failure(self, result: R) -> str | None:  # noqa: ARG002 - of most tasks any result will do
        """Why what was done is no success, where it is none."""
        return None

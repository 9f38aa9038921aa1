"""A trial is made once, unless it is wanted anew or showed nothing; who must be alone is tried first."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from rich.console import Console

from gates.judge.result import Finding, GateVerdict
from gates.prove import runner
from gates.prove.evaluate import Trial
from gates.prove.jobs import Job
from gates.prove.runner import Done, Order, run_jobs
from gates.run import bench as running
from gates.run.bench import Said
from gates.run.session import Options, Session, open_session
from gates.run.store import Place, Store
from gates.run.tasks import Spread
from tests.builders.small_project import GATE, project

JOB = Job(gate="first", kind="control", defect=None, seed=46)
PASSED = GateVerdict(
    gate="first",
    id="A1",
    run_id="r",
    mode="healthy",
    status="PASS",
    detail="",
    assertions=[],
    faults=[],
    findings=[],
)
NOTHING = msgspec.structs.replace(
    PASSED, status="UNKNOWN", findings=[Finding("UNKNOWN", "run", "the target did not start")]
)


def trial_of(job: Job, run_id: str) -> Trial:
    return Trial(
        gate=job.gate,
        kind=job.kind,
        defect=None,
        seed=job.seed,
        run_id=run_id,
        diff="",
        executed=None,
    )


class Trials:
    """Trials that are counted instead of run; what their evidence comes to is `verdict`."""

    def __init__(self) -> None:
        self.made = 0
        self.alone: list[bool] = []
        self.verdict = PASSED

    def make(self, _bench: object, _gate: object, job: Job, place: Path, *, alone: bool) -> Trial:
        self.alone.append(alone)
        self.made += 1
        (place / job.gate).mkdir()
        return trial_of(job, f"run-{self.made}")


class Bench(running.Bench):
    """Judges what is counted, of gates that nobody reads."""

    def __init__(self, trials: Trials) -> None:
        self.trials = trials

    @property
    def project(self) -> Any:
        """Gates are their names here."""
        return SimpleNamespace(thaw=lambda name: name)

    def judge(self, *_: object) -> GateVerdict:
        """What everything comes to."""
        return self.trials.verdict


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Trials:
    found = Trials()
    monkeypatch.setattr(runner, "make", found.make)
    return found


def order(root: Path, *, again: bool = False) -> Order:
    return Order(label="first control", job=JOB, place=Place(Store(root), "a", again))


def settled(root: Path, trials: Trials, *, again: bool = False) -> Done:
    return order(root, again=again).do(Bench(trials))


def test_what_is_kept_is_not_made_again(tmp_path: Path, trials: Trials) -> None:
    first, second = settled(tmp_path, trials), settled(tmp_path, trials)
    assert (first.tries, second.tries, trials.made) == (1, 0, 1)
    assert first.trial == second.trial
    assert second.verdict == PASSED


def test_what_is_kept_is_made_again_when_that_is_asked_for(tmp_path: Path, trials: Trials) -> None:
    settled(tmp_path, trials)
    assert settled(tmp_path, trials, again=True).trial.run_id == "run-2"
    assert trials.made == 2


def test_what_was_measured_stays_whatever_it_came_to(tmp_path: Path, trials: Trials) -> None:
    """Else a proof could be repeated until it is lucky."""
    trials.verdict = msgspec.structs.replace(PASSED, status="UNKNOWN")
    settled(tmp_path, trials)
    assert settled(tmp_path, trials).tries == 0


def test_what_showed_nothing_is_made_again(tmp_path: Path, trials: Trials) -> None:
    trials.verdict = NOTHING
    assert settled(tmp_path, trials).verdict == NOTHING
    assert settled(tmp_path, trials).trial.run_id == "run-2"


@pytest.mark.parametrize(("slow", "tries"), [(0, 1), (1, 2), (2, 3), (9, 3)])
def test_what_a_slow_host_did_not_let_measure_is_repeated_alone(
    tmp_path: Path, trials: Trials, monkeypatch: pytest.MonkeyPatch, slow: int, tries: int
) -> None:
    by_host = msgspec.structs.replace(
        PASSED, findings=[Finding("UNKNOWN", "load", "sent late", "host")]
    )
    monkeypatch.setattr(Bench, "judge", lambda *_: by_host if trials.made <= slow else PASSED)
    done = settled(tmp_path, trials)
    assert (done.tries, done.verdict) == (tries, by_host if slow >= tries else PASSED)
    assert trials.alone == [False, True, True][:tries]
    # What was never measured is tried again another time, too.
    assert settled(tmp_path, trials).tries == (0 if slow < tries else 3)


def test_who_must_be_alone_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between others it would make them wait every time."""
    gate = GATE.replace("control:", "exclusive: true\ncontrol:", 1)
    small = project(tmp_path, {"specs/gates/a/first.yaml": gate})
    session = open_session(
        Options(specs=str(small.specs), only=("second",)), tmp_path / "runs", lambda _: None
    )
    seen: list[str] = []

    def spread(_session: Session, orders: Sequence[Order], _console: Console) -> Spread[Done]:
        seen.extend(order.job.gate for order in orders)
        done = [Done(trial=trial_of(order.job, "r"), verdict=PASSED, tries=1) for order in orders]
        return Spread(list(done), [], interrupted=False)

    monkeypatch.setattr(runner, "spread", spread)
    second = Job(gate="second", kind="control", defect=None, seed=46)
    jobs = {second: "s", JOB: "f"}
    done = run_jobs(session, small, jobs, Store(tmp_path), Console(), again=False)
    assert seen == ["first", "second"]
    assert [one.trial.gate for one in done] == ["second", "first"]


@pytest.mark.parametrize(
    ("tries", "said"),
    [
        (0, Said("PASS", "A1 control", tries=0)),
        (1, Said("PASS", "A1 control")),
        (3, Said("PASS", "A1 control", tries=3)),
    ],
)
def test_what_is_said_of_a_trial(tmp_path: Path, tries: int, said: Said) -> None:
    done = Done(trial=trial_of(JOB, "r"), verdict=PASSED, tries=tries)
    one = msgspec.structs.replace(order(tmp_path), label="A1 control")
    assert one.said(done) == said

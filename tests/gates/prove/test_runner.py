"""A trial is made once, unless it is wanted anew or showed nothing; who must be alone is tried first."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gates.judge.result import Finding, GateVerdict
from gates.prove import runner
from gates.prove.evaluate import Trial
from gates.prove.jobs import Job
from gates.prove.runner import Done, Order, run_jobs, settle
from gates.prove.store import Kept, Store
from gates.run.session import Options, open_session
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


class Trials:
    """Trials that are counted instead of run; what their evidence comes to is `verdict`."""

    def __init__(self) -> None:
        self.made = 0
        self.alone: list[bool] = []
        self.verdict = PASSED

    def make(
        self,
        _session: object,
        _project: object,
        _gate: object,
        job: Job,
        place: Path,
        *,
        alone: bool,
    ) -> Trial:
        self.alone.append(alone)
        self.made += 1
        (place / job.gate).mkdir()
        return Trial(
            gate=job.gate,
            kind=job.kind,
            defect=None,
            seed=job.seed,
            run_id=f"run-{self.made}",
            diff="",
            executed=None,
        )


class Frozen:
    """Stands for what a session froze."""

    def thaw(self, name: str) -> str:
        return name


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Trials:
    found = Trials()
    monkeypatch.setattr(runner, "load_session", lambda _: None)
    monkeypatch.setattr(runner, "_frozen", lambda _: Frozen())
    monkeypatch.setattr(runner, "_make", found.make)
    monkeypatch.setattr(runner, "judged", lambda *_: found.verdict)
    return found


def settled(root: Path, *, again: bool = False) -> Done:
    return settle("session", Order(job=JOB, key="a", store=Store(root), again=again))


def test_what_is_kept_is_not_made_again(tmp_path: Path, trials: Trials) -> None:
    first, second = settled(tmp_path), settled(tmp_path)
    assert (first.tries, second.tries, trials.made) == (1, 0, 1)
    assert first.kept == second.kept
    assert second.verdict == PASSED


def test_what_is_kept_is_made_again_when_that_is_asked_for(tmp_path: Path, trials: Trials) -> None:
    settled(tmp_path)
    assert settled(tmp_path, again=True).kept.trial.run_id == "run-2"
    assert trials.made == 2


def test_what_was_measured_stays_whatever_it_came_to(tmp_path: Path, trials: Trials) -> None:
    """Else a proof could be repeated until it is lucky."""
    trials.verdict = msgspec.structs.replace(PASSED, status="UNKNOWN")
    settled(tmp_path)
    assert settled(tmp_path).tries == 0


def test_what_showed_nothing_is_made_again(tmp_path: Path, trials: Trials) -> None:
    trials.verdict = NOTHING
    assert settled(tmp_path).verdict == NOTHING
    assert settled(tmp_path).kept.trial.run_id == "run-2"


@pytest.mark.parametrize(("slow", "tries"), [(0, 1), (1, 2), (2, 3), (9, 3)])
def test_what_a_slow_host_did_not_let_measure_is_repeated_alone(
    tmp_path: Path, trials: Trials, monkeypatch: pytest.MonkeyPatch, slow: int, tries: int
) -> None:
    by_host = msgspec.structs.replace(
        PASSED, findings=[Finding("UNKNOWN", "load", "sent late", "host")]
    )
    monkeypatch.setattr(runner, "judged", lambda *_: by_host if trials.made <= slow else PASSED)
    done = settled(tmp_path)
    assert (done.tries, done.verdict) == (tries, by_host if slow >= tries else PASSED)
    assert trials.alone == [False, True, True][:tries]
    # What was never measured is tried again another time, too.
    assert settled(tmp_path).tries == (0 if slow < tries else 3)


def test_who_must_be_alone_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between others it would make them wait every time."""
    gate = GATE.replace("control:", "exclusive: true\ncontrol:", 1)
    small = project(tmp_path, {"specs/gates/a/first.yaml": gate})
    session = open_session(
        Options(specs=str(small.specs), only=("second",)), tmp_path / "runs", lambda _: None
    )
    seen: list[str] = []

    def spread(
        _directory: Path,
        _workers: int,
        _work: object,
        orders: list[Order],
        tell: Callable[[Order, Done], None],
    ) -> None:
        for order in orders:
            seen.append(order.job.gate)
            kept = Kept(Trials().make(None, None, None, order.job, tmp_path, alone=False), tmp_path)
            (tmp_path / order.job.gate).rmdir()
            tell(order, Done(kept=kept, verdict=PASSED, tries=1))

    monkeypatch.setattr(runner, "spread", spread)
    second = Job(gate="second", kind="control", defect=None, seed=46)
    jobs = {second: "s", JOB: "f"}
    done = run_jobs(session, small, jobs, Store(tmp_path), again=False, tell=lambda *_: None)
    assert seen == ["first", "second"]
    assert [one.kept.trial.gate for one in done] == ["second", "first"]

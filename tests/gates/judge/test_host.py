"""A machine that was too slow to measure on makes UNKNOWN of times, and hides nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.evidence.sealing import Loader
from gates.judge.connection import Evidence
from gates.judge.lint import sql_problems
from gates.judge.result import GateVerdict
from gates.judge.verdict import host_of
from gates.spec.assertion import Assertion, Judged
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

Live = tuple[Evidence, Loader]
NewRun = Callable[..., Run]
Verdict = Callable[..., GateVerdict]

QUICK = assertion(
    that="the machine is quick",
    from_="requests where step = 'control'",
    every="service_ms < 50",
    at_least=5,
)
SOON = assertion(
    that="it comes soon",
    from_="requests where step = 'turns'",
    every="service_ms < 300",
    timed=True,
)
RIGHT = assertion(that="it is right", from_="requests where step = 'turns'", every="status = 200")


@pytest.fixture
def verdict(live: Live) -> Verdict:
    evidence, loader = live

    def judge(directory: Path, *, spec: Judged) -> GateVerdict:
        loader.load([directory])
        evidence.refresh()
        return verdict_of(evidence, spec)

    return judge


def recorded(
    new_run: NewRun,
    *,
    control_ms: float | None,
    turns_ms: float,
    status: int = 200,
    controls: int = 10,
) -> Path:
    run = new_run().begin()
    for number in range(controls):
        answered = control_ms is not None
        done_ms = 10.0 + number + (control_ms or 0)
        run.request(step="control", sent_ms=10.0 + number, done_ms=done_ms, answered=answered)
    for number in range(20):
        run.request(sent_ms=10.0 + number, done_ms=10.0 + number + turns_ms, status=status)
    return run.step("control.0").step("scenario.0").end().close()


@pytest.mark.parametrize(("turns_ms", "status"), [(5, "PASS"), (900, "FAIL")])
def test_a_quick_machine_changes_nothing(
    new_run: NewRun, verdict: Verdict, turns_ms: float, status: str
) -> None:
    directory = recorded(new_run, control_ms=5, turns_ms=turns_ms)
    found = verdict(directory, spec=judged(SOON, RIGHT, host=[QUICK]))
    assert (found.status, found.cause) == (status, None)


@pytest.mark.parametrize("turns_ms", [5, 900])
def test_on_a_slow_machine_times_mean_nothing(
    new_run: NewRun, verdict: Verdict, turns_ms: float
) -> None:
    found = verdict(
        recorded(new_run, control_ms=80, turns_ms=turns_ms), spec=judged(SOON, RIGHT, host=[QUICK])
    )
    assert (found.status, found.cause) == ("UNKNOWN", "host")
    assert found.reasons[0] == (
        "host: the machine is quick: expected every row has service_ms < 50;"
        " found 10 of 10 rows violating it; first: service_ms=80 seq=0"
    )
    soon, right = found.assertions
    assert (soon.status, soon.cause) == (("PASS", None) if turns_ms < 300 else ("UNKNOWN", "host"))
    assert right.status == "PASS"


def test_on_a_slow_machine_a_failure_is_a_failure(new_run: NewRun, verdict: Verdict) -> None:
    directory = recorded(new_run, control_ms=80, turns_ms=900, status=500)
    found = verdict(directory, spec=judged(SOON, RIGHT, host=[QUICK]))
    assert (found.status, found.cause) == ("FAIL", None)
    by_itself = verdict(directory, spec=judged(SOON, host=[QUICK]))
    assert (by_itself.status, by_itself.cause) == ("UNKNOWN", "host")


def test_a_limit_that_is_not_timed_fails_on_any_machine(new_run: NewRun, verdict: Verdict) -> None:
    plain = assertion(from_="requests where step = 'turns'", every="service_ms < 300")
    directory = recorded(new_run, control_ms=80, turns_ms=900)
    assert verdict(directory, spec=judged(plain, host=[QUICK])).status == "FAIL"


@pytest.mark.parametrize(("control_ms", "controls"), [(80, 3), (None, 10)])
def test_a_control_that_says_nothing_is_no_slow_machine(
    new_run: NewRun, verdict: Verdict, control_ms: float | None, controls: int
) -> None:
    directory = recorded(new_run, control_ms=control_ms, turns_ms=900, controls=controls)
    found = verdict(directory, spec=judged(SOON, host=[QUICK]))
    assert (found.status, found.cause) == ("FAIL", None)
    spec = judged(RIGHT, host=[QUICK])
    assert (verdict(directory, spec=spec).status, verdict(directory, spec=spec).cause) == (
        "UNKNOWN",
        None,
    )


@pytest.mark.parametrize(
    "own",
    [
        assertion(every="service_ms < 300 and status = 200", timed=True),
        assertion(every="status = 200", timed=True),
        assertion(value="max(service_ms + coalesce(status, 0))", is_="< 300", timed=True),
    ],
)
def test_what_is_timed_speaks_of_times_only(
    own: Assertion, new_run: NewRun, verdict: Verdict
) -> None:
    """Otherwise a wrong answer on a slow machine would be worth another attempt."""
    for spec in (judged(own), host_of(judged(RIGHT, host=[own]))):
        (found,) = sql_problems(spec, alone=None, golden=True)
        assert "`timed` speaks of times only" in found.message
    directory = recorded(new_run, control_ms=80, turns_ms=5, status=500)
    assert verdict(directory, spec=judged(RIGHT, host=[own])).cause is None

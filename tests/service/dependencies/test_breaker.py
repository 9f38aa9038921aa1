"""The breaker's decisions, on a clock that only moves when told to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.dependencies.breaker import Breaker, BreakerLimits, BreakerState, Permit

LIMITS = BreakerLimits(failures=3, open_for_s=0.5, max_open_for_s=2.0)


class HandClock:
    """Seconds that only move by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def breaker(clock: HandClock) -> Breaker:
    return Breaker(LIMITS, clock, jitter=lambda: 1.0)


def admitted(breaker: Breaker) -> Permit:
    permit = breaker.admit()
    assert permit is not None
    return permit


def probe(breaker: Breaker) -> Permit:
    permit = breaker.admit_probe()
    assert permit is not None
    return permit


def trip(breaker: Breaker) -> None:
    for _ in range(LIMITS.failures):
        breaker.failed(admitted(breaker))
    assert breaker.state is BreakerState.OPEN


def fail_probe(breaker: Breaker, clock: HandClock) -> float:
    """Wait for the next probe, fail it, and return the back-off that follows in seconds."""
    clock.now_s += breaker.probe_due_in_s()
    breaker.failed(probe(breaker))
    return breaker.probe_due_in_s()


def test_failures_in_a_row_open_it(breaker: Breaker) -> None:
    breaker.failed(admitted(breaker))
    breaker.failed(admitted(breaker))
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(admitted(breaker))
    assert breaker.state is BreakerState.OPEN


def test_a_success_between_failures_keeps_it_closed(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.failed(admitted(breaker))
        breaker.failed(admitted(breaker))
        breaker.succeeded(admitted(breaker))
    assert breaker.state is BreakerState.CLOSED


def test_failures_of_overlapping_calls_count_each(breaker: Breaker) -> None:
    permits = [admitted(breaker) for _ in range(40)]
    for permit in permits[: LIMITS.failures]:
        breaker.failed(permit)
    assert breaker.state is BreakerState.OPEN


def test_while_open_traffic_is_turned_away_and_so_are_early_probes(
    breaker: Breaker, clock: HandClock
) -> None:
    trip(breaker)
    assert breaker.admit() is None
    assert breaker.admit_probe() is None
    clock.now_s += 0.499
    assert breaker.admit_probe() is None


def test_one_probe_at_a_time_and_no_traffic_beside_it(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    clock.now_s += 0.5
    probe(breaker)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.admit_probe() is None
    assert breaker.admit() is None


def test_a_good_probe_closes_it(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    clock.now_s += 0.5
    breaker.succeeded(probe(breaker))
    assert breaker.state is BreakerState.CLOSED
    admitted(breaker)


def test_back_off_doubles_up_to_its_bound(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    assert breaker.probe_due_in_s() == pytest.approx(0.5)
    assert [fail_probe(breaker, clock) for _ in range(4)] == pytest.approx([1.0, 2.0, 2.0, 2.0])


def test_back_off_keeps_growing_when_only_probes_succeed(
    breaker: Breaker, clock: HandClock
) -> None:
    trip(breaker)
    clock.now_s += breaker.probe_due_in_s()
    breaker.succeeded(probe(breaker))
    trip(breaker)
    assert breaker.probe_due_in_s() == pytest.approx(1.0)


def test_back_off_starts_again_after_a_real_success(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    fail_probe(breaker, clock)
    clock.now_s += breaker.probe_due_in_s()
    breaker.succeeded(probe(breaker))
    breaker.succeeded(admitted(breaker))
    trip(breaker)
    assert breaker.probe_due_in_s() == pytest.approx(0.5)


def test_back_off_starts_again_after_a_long_quiet_time(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    fail_probe(breaker, clock)
    clock.now_s += breaker.probe_due_in_s()
    breaker.succeeded(probe(breaker))
    clock.now_s += LIMITS.max_open_for_s + 0.001
    trip(breaker)
    assert breaker.probe_due_in_s() == pytest.approx(0.5)


def test_jitter_shortens_the_back_off_by_at_most_half(clock: HandClock) -> None:
    breaker = Breaker(LIMITS, clock, jitter=lambda: 0.0)
    trip(breaker)
    assert breaker.probe_due_in_s() == pytest.approx(0.25)


def test_a_late_success_from_before_the_trip_does_not_close_it(
    breaker: Breaker, clock: HandClock
) -> None:
    early = admitted(breaker)
    trip(breaker)
    breaker.succeeded(early)
    assert breaker.state is BreakerState.OPEN
    clock.now_s += 0.5
    probe(breaker)
    breaker.succeeded(early)
    assert breaker.state is BreakerState.HALF_OPEN


def test_late_failures_from_before_the_recovery_do_not_open_it_again(
    breaker: Breaker, clock: HandClock
) -> None:
    hanging = [admitted(breaker) for _ in range(20)]
    trip(breaker)
    clock.now_s += 0.5
    breaker.succeeded(probe(breaker))
    for permit in hanging:
        breaker.failed(permit)
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(admitted(breaker))
    assert breaker.state is BreakerState.CLOSED


def test_probes_that_fail_while_closed_open_it(breaker: Breaker) -> None:
    for _ in range(LIMITS.failures):
        breaker.failed(probe(breaker))
    assert breaker.state is BreakerState.OPEN


def test_probes_that_succeed_while_closed_do_not_excuse_failing_calls(breaker: Breaker) -> None:
    for _ in range(LIMITS.failures):
        breaker.failed(admitted(breaker))
        if breaker.state is BreakerState.CLOSED:
            breaker.succeeded(probe(breaker))
    assert breaker.state is BreakerState.OPEN


def test_an_abandoned_probe_frees_the_slot(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    clock.now_s += 0.5
    breaker.released(probe(breaker))
    assert breaker.state is BreakerState.OPEN
    probe(breaker)


def test_abandoned_traffic_counts_for_nothing(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.released(admitted(breaker))
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    "limits",
    [
        {"failures": 0},
        {"open_for_s": 0.0},
        {"open_for_s": 3.0, "max_open_for_s": 2.0},
    ],
)
def test_limits_that_could_never_work_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="breaker"):
        BreakerLimits(**limits)  # type: ignore[arg-type]


@given(
    st.lists(st.sampled_from(["admit", "probe", "succeed", "fail", "release", "wait"]), max_size=60)
)
def test_whatever_happens_there_is_one_probe_at_most_and_a_way_back(steps: list[str]) -> None:
    clock = HandClock()
    breaker = Breaker(LIMITS, clock, jitter=lambda: 0.5)
    held: list[Permit] = []
    for step in steps:
        match step:
            case "wait":
                clock.now_s += 0.4
            case "admit" | "probe":
                permit = breaker.admit() if step == "admit" else breaker.admit_probe()
                held += [permit] if permit else []
            case _ if held:
                {"succeed": breaker.succeeded, "fail": breaker.failed, "release": breaker.released}[
                    step
                ](held.pop(0))
        current_probes = [
            each for each in held if each.probe and each.generation == breaker.generation
        ]
        if breaker.state is BreakerState.HALF_OPEN:
            assert len(current_probes) == 1
        assert (breaker.admit() is not None) == (breaker.state is BreakerState.CLOSED)
        assert breaker.probe_due_in_s() <= LIMITS.max_open_for_s
    while held:
        breaker.failed(held.pop())
    clock.now_s += breaker.probe_due_in_s()
    breaker.succeeded(probe(breaker))
    assert breaker.state is BreakerState.CLOSED


def test_each_change_is_told(breaker: Breaker, clock: HandClock) -> None:
    told: list[str] = []
    breaker.on_change = told.append
    trip(breaker)
    fail_probe(breaker, clock)
    clock.now_s += breaker.probe_due_in_s()
    breaker.succeeded(probe(breaker))
    assert told == ["open", "half_open", "open", "half_open", "closed"]

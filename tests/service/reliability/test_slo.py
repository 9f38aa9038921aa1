"""The state machine of degrade mode, in a time of its own."""

import msgspec
import pytest

from service.reliability.slo import NOT_SERVED, Mode, Objective
from service.settings import SloSettings

LIMITS = SloSettings(
    threshold_ms=100,
    quantile=0.5,
    short_window_s=2,
    long_window_s=10,
    min_count=5,
    long_min_count=10,
    min_dwell_s=20,
    sustain_s=5.5,
    canary_every_s=1,
)
FAST, SLOW = 10.0, 500.0


class Play:
    """An objective, what it did, and the time."""

    def __init__(self, limits: SloSettings = LIMITS, mode: Mode = Mode.NORMAL) -> None:
        self.now_s = 1000.0
        self.objective = Objective(limits, mode, self.now_s)
        self.changes: list[float] = []

    def seconds(self, count: int, turns: float | None = None, canary: float | None = None) -> None:
        """Ten turns a second that take `turns`, and one canary while degraded."""
        for _ in range(count):
            for _ in range(10):
                self.now_s += 0.1
                if turns is not None:
                    self.objective.turn(self.now_s, turns)
                if self.objective.look(self.now_s):
                    self.changes.append(self.now_s)
            if canary is not None and self.objective.mode is Mode.DEGRADED:
                self.objective.canary(self.now_s, canary)

    @property
    def mode(self) -> Mode:
        return self.objective.mode


def test_a_sustained_breach_enters_and_a_constant_one_stays() -> None:
    play = Play()
    play.seconds(10, FAST)
    play.seconds(4, SLOW)
    assert play.mode is Mode.NORMAL
    play.seconds(4, SLOW)
    assert play.mode is Mode.DEGRADED
    # What is switched off is not slow any more; only the canaries tell that it would be.
    play.seconds(200, FAST, SLOW)
    assert len(play.changes) == 1


def test_spikes_do_not_enter() -> None:
    play = Play()
    play.seconds(10, FAST)
    for _ in range(20):
        play.seconds(3, SLOW)
        play.seconds(7, FAST)
    assert play.changes == []


def test_a_breach_that_is_over_does_not_enter() -> None:
    """The long window still breaches when the short one is whole again."""
    play = Play()
    for _ in range(60):
        play.objective.turn(play.now_s, SLOW)
    play.now_s += 4
    play.seconds(3, FAST)
    assert [each.breaching for each in play.objective.windows(play.now_s)] == [False, True]
    assert play.changes == []


@pytest.mark.parametrize("served", [SLOW, NOT_SERVED])
def test_too_few_turns_tell_nothing(served: float) -> None:
    play = Play()
    for _ in range(LIMITS.long_min_count - 1):
        play.objective.turn(play.now_s, served)
    assert not play.objective.look(play.now_s)
    play.objective.turn(play.now_s, served)
    assert play.objective.look(play.now_s)


def test_what_is_not_served_breaches_whatever_the_threshold() -> None:
    play = Play(msgspec.structs.replace(LIMITS, threshold_ms=1e300))
    play.seconds(20, NOT_SERVED)
    assert play.mode is Mode.DEGRADED


def test_the_quantile_decides() -> None:
    play = Play()
    for _ in range(20):
        play.objective.turn(play.now_s, SLOW)
        play.objective.turn(play.now_s, FAST)
    assert not play.objective.look(play.now_s)
    play.objective.turn(play.now_s, SLOW)
    assert play.objective.look(play.now_s)


def test_no_traffic_is_neither_breach_nor_recovery() -> None:
    play = Play()
    play.seconds(100)
    assert play.changes == []
    play = Play(mode=Mode.DEGRADED)
    play.seconds(500)
    assert play.changes == []


def test_it_is_left_once_canaries_are_well_for_long_enough() -> None:
    play = Play(mode=Mode.DEGRADED)
    play.seconds(30, FAST, SLOW)
    good_from_s = play.now_s
    play.seconds(7, FAST, 79.0)
    assert play.mode is Mode.DEGRADED
    play.seconds(1, FAST)
    (left_s,) = play.changes
    assert LIMITS.sustain_s <= left_s - good_from_s <= LIMITS.sustain_s + 2


def test_it_is_not_left_while_turns_are_shed_even_so() -> None:
    play = Play(mode=Mode.DEGRADED)
    play.seconds(100, NOT_SERVED, FAST)
    assert play.changes == []
    play.seconds(5, FAST, FAST)
    assert play.mode is Mode.NORMAL


def test_it_lasts_for_its_dwell() -> None:
    play = Play(mode=Mode.DEGRADED)
    began_s = play.now_s
    play.seconds(30, FAST, FAST)
    (left_s,) = play.changes
    assert LIMITS.min_dwell_s <= left_s - began_s <= LIMITS.min_dwell_s + 0.2


@pytest.mark.parametrize("canary", [81.0, 100.0, SLOW, NOT_SERVED])
def test_barely_good_is_no_recovery(canary: float) -> None:
    play = Play(mode=Mode.DEGRADED)
    play.seconds(100, FAST, canary)
    assert play.changes == []


def test_one_bad_canary_begins_the_recovery_anew() -> None:
    play = Play(mode=Mode.DEGRADED)
    for _ in range(30):
        play.seconds(5, FAST, FAST)
        play.seconds(1, FAST, SLOW)
    assert play.changes == []


def test_canaries_that_stay_away_are_no_recovery() -> None:
    play = Play(mode=Mode.DEGRADED)
    play.seconds(25, FAST, SLOW)
    play.seconds(5, FAST, FAST)
    play.seconds(60, FAST)
    assert play.changes == []


def test_other_limits_hold_from_now_on() -> None:
    play = Play()
    play.seconds(20, SLOW / 2)
    assert play.mode is Mode.DEGRADED
    play = Play()
    play.objective.take_limits(msgspec.structs.replace(LIMITS, threshold_ms=400))
    play.seconds(20, SLOW / 2)
    assert play.mode is Mode.NORMAL
    play.objective.take_limits(LIMITS)
    play.seconds(1, SLOW / 2)
    assert play.mode is Mode.DEGRADED

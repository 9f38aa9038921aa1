"""How often and how soon a process may be restarted, whatever happens to it and however time goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.supervisor.budget import (
    Budget,
    Limits,
    after_attempt,
    after_failure,
    as_of,
    counted,
    due_ms,
    is_spent,
)

LIMITS = Limits(attempts=3, window_ms=300_000, backoff_base_ms=2000)
NEW = Budget("memory")


def test_three_failures_wait_longer_each_time_and_the_fourth_for_the_window() -> None:
    budget, now_ms, waits = NEW, 1_000_000, []
    began_ms = now_ms + 2000
    for _ in range(3):
        budget = after_failure(budget, LIMITS, now_ms)
        assert not budget.exhausted
        waits.append(due_ms(budget, LIMITS) - now_ms)
        now_ms = due_ms(budget, LIMITS)
        budget = after_attempt(budget, LIMITS, now_ms)
    assert waits == [2000, 4000, 8000]
    budget = after_failure(budget, LIMITS, now_ms)
    assert budget.exhausted
    assert due_ms(budget, LIMITS) == budget.backoff_until_ms == began_ms + 300_000
    assert is_spent(budget, LIMITS, began_ms + 299_999)
    assert not is_spent(budget, LIMITS, began_ms + 300_000)
    again = after_attempt(budget, LIMITS, began_ms + 300_000)
    assert not again.exhausted
    assert len(again.attempts_ms) == 3


def test_what_is_long_ago_does_not_count() -> None:
    once = after_attempt(after_failure(NEW, LIMITS, 0), LIMITS, 2000)
    assert counted(once, LIMITS, 301_999) == (2000,)
    assert counted(once, LIMITS, 302_000) == ()
    assert due_ms(after_failure(once, LIMITS, 400_000), LIMITS) == 402_000


limits = st.builds(
    Limits,
    attempts=st.integers(1, 5),
    window_ms=st.integers(1, 50_000),
    backoff_base_ms=st.integers(250, 4000),
)
steps = st.lists(st.tuples(st.integers(0, 20_000), st.booleans()), max_size=40)


@given(limits, steps)
def test_no_window_holds_more_attempts_than_allowed_and_none_comes_before_its_back_off(
    bounds: Limits, lives: list[tuple[int, bool]]
) -> None:
    budget, now_ms, made = NEW, 0, list[int]()
    for lived_ms, by_operator in lives:
        now_ms += lived_ms
        if by_operator and is_spent(budget, bounds, now_ms):
            continue
        if not by_operator:
            budget = after_failure(budget, bounds, now_ms)
            failed_ms, before = now_ms, len(counted(budget, bounds, now_ms))
            now_ms = max(now_ms, due_ms(budget, bounds))
            assert now_ms - failed_ms >= bounds.backoff_base_ms << min(before, bounds.attempts - 1)
        budget = after_attempt(budget, bounds, now_ms)
        made.append(now_ms)
        # Whatever is written down and read back at once is the same.
        assert as_of(budget, bounds, now_ms) == budget
    for first, last in zip(made, made[bounds.attempts :], strict=False):
        assert last - first >= bounds.window_ms


@given(limits, steps, st.integers(0, 10**9))
def test_what_a_clock_that_was_taken_back_left_lasts_no_longer_than_a_window(
    bounds: Limits, lives: list[tuple[int, bool]], back_ms: int
) -> None:
    budget, now_ms = NEW, 10**9
    for lived_ms, failed in lives:
        now_ms += lived_ms
        change = after_failure if failed else after_attempt
        budget = change(budget, bounds, now_ms)
    now_ms -= back_ms
    restored = as_of(budget, bounds, now_ms)
    assert list(restored.attempts_ms) == sorted(restored.attempts_ms)
    longest_ms = max(bounds.window_ms, bounds.backoff_ms(bounds.attempts))
    assert due_ms(restored, bounds) <= now_ms + longest_ms
    if back_ms == 0:
        assert restored == budget


@pytest.mark.parametrize("count", range(6))
def test_a_back_off_grows_no_more_than_a_window_has_attempts(count: int) -> None:
    assert LIMITS.backoff_ms(count) == (2000, 4000, 8000, 8000, 8000, 8000)[count]

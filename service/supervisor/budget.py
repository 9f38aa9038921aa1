"""How often, and how soon, a process may be restarted. Pure; the caller brings the time.

A sliding window: of the attempts of the last `window_ms` there are never more than `attempts`. Between two of them lies
a back-off that doubles with each attempt in the window. An attempt is whatever is spawned again, for whatever reason.
"""

from itertools import takewhile

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """At most `attempts` (1 or more) in `window_ms`; after n of them the next waits for `backoff_base_ms` * 2**n."""

    attempts: int
    window_ms: int
    backoff_base_ms: int

    def backoff_ms(self, count: int) -> int:
        """How long to wait after a failure, or an attempt, with `count` attempts in the window."""
        return self.backoff_base_ms << min(count, self.attempts - 1)


class Budget(msgspec.Struct, frozen=True):
    """What one process has used up. `attempts_ms` ascends."""

    name: str
    attempts_ms: tuple[int, ...] = ()
    backoff_until_ms: int = 0
    exhausted: bool = False


def counted(budget: Budget, limits: Limits, now_ms: int) -> tuple[int, ...]:
    """The attempts that count now."""
    old = list(takewhile(lambda at_ms: now_ms - at_ms >= limits.window_ms, budget.attempts_ms))
    return budget.attempts_ms[len(old) :]


def is_spent(budget: Budget, limits: Limits, now_ms: int) -> bool:
    """Whether there is no attempt left in the window."""
    return len(counted(budget, limits, now_ms)) >= limits.attempts


def due_ms(budget: Budget, limits: Limits) -> int:
    """When the next attempt may be made at the earliest."""
    return max((budget.backoff_until_ms, *_window_passes(budget.attempts_ms, limits)))


def _window_passes(attempts_ms: tuple[int, ...], limits: Limits) -> tuple[int, ...]:
    """When the window holds one attempt less than it may, if it is full."""
    full = len(attempts_ms) >= limits.attempts
    return (attempts_ms[-limits.attempts] + limits.window_ms,) if full else ()


def after_failure(budget: Budget, limits: Limits, now_ms: int) -> Budget:
    """What is left once the process has failed: a back-off, or nothing until the window has passed."""
    kept = counted(budget, limits, now_ms)
    backoff_ms = now_ms + limits.backoff_ms(len(kept))
    return msgspec.structs.replace(
        budget,
        attempts_ms=kept,
        backoff_until_ms=max((budget.backoff_until_ms, backoff_ms, *_window_passes(kept, limits))),
        exhausted=len(kept) >= limits.attempts,
    )


def after_attempt(budget: Budget, limits: Limits, now_ms: int) -> Budget:
    """What is left once it is spawned again."""
    at_ms = max((now_ms, *budget.attempts_ms[-1:]))
    kept = (*counted(budget, limits, at_ms), at_ms)
    return msgspec.structs.replace(
        budget,
        attempts_ms=kept,
        backoff_until_ms=at_ms + limits.backoff_ms(len(kept)),
        exhausted=False,
    )


def as_of(budget: Budget, limits: Limits, now_ms: int) -> Budget:
    """`budget` as it is read back at `now_ms`, before which all of it has happened.

    Where a clock that ran ahead was taken back, it would otherwise say more than a window or a back-off can last.
    """
    longest_ms = limits.backoff_ms(limits.attempts)
    if budget.exhausted:
        longest_ms = max(longest_ms, limits.window_ms)
    return msgspec.structs.replace(
        budget,
        attempts_ms=tuple(sorted(min(each, now_ms) for each in budget.attempts_ms)),
        backoff_until_ms=min(budget.backoff_until_ms, now_ms + longest_ms),
    )

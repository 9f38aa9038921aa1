"""Circuit breaker: decides whether a dependency may be called, from what its calls came to.

The states and the single half-open probe follow Nygard, "Release It!" (2nd ed., 2018, ch. 5); the back-off
is exponential with equal jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

Two kinds of call ask for a permit. *Traffic* is admitted while the breaker is closed and answered at once
with None otherwise, so that no user ever waits to find out whether a dependency has come back. *Probes*
come from a background task: while the breaker is open, one of them at a time, after the back-off, is the
half-open probe whose success closes it.

The breaker does no I/O and reads no clock of its own; it belongs to one event loop and needs no lock. Calls
overlap all the same, so every permit carries the generation in which it was given: a call that was
admitted before the last change of state tells nothing about the present and is ignored.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec


class BreakerState(StrEnum):
    """Where the breaker stands; only `CLOSED` lets traffic through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


def lets_through(state: BreakerState) -> bool:
    """Whether traffic goes out in that state. Pure."""
    return state is BreakerState.CLOSED


class BreakerLimits(msgspec.Struct, frozen=True):
    """When to open, and for how long.

    `failures`: failed calls in a row that open the breaker. `open_for_s`: the first back-off in seconds,
    doubled at each further failure until a call succeeds, never above `max_open_for_s`.
    """

    failures: int = 3
    open_for_s: float = 0.5
    max_open_for_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse limits under which the breaker could never open or never close (ValueError)."""
        if self.failures < 1:
            raise ValueError("breaker.failures must be at least 1")
        if not 0 < self.open_for_s <= self.max_open_for_s:
            raise ValueError(
                "breaker.open_for_s must be above 0 and at most breaker.max_open_for_s"
            )


class Permit(msgspec.Struct, frozen=True):
    """Leave to make one call; hand it back through exactly one of `succeeded`, `failed`, `released`."""

    generation: int
    probe: bool


class Breaker:
    """One breaker for one dependency.

    `clock` gives monotonic seconds, `jitter` a number in [0, 1). `on_change` hears each new state.
    """

    def __init__(
        self, limits: BreakerLimits, clock: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._jitter = jitter
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._failures = 0
        self._trips = 0
        self._changed_at_s = clock()
        self._open_until_s = 0.0
        self.on_change: Callable[[BreakerState], None] = lambda _: None

    @property
    def state(self) -> BreakerState:
        """The present state."""
        return self._state

    @property
    def generation(self) -> int:
        """How often the state has changed; a permit of an older generation no longer counts."""
        return self._generation

    def probe_due_in_s(self) -> float:
        """Seconds until an open breaker allows its probe; 0 when one is allowed now."""
        if self._state is not BreakerState.OPEN:
            return 0.0
        return max(0.0, self._open_until_s - self._clock())

    def admit(self) -> Permit | None:
        """A permit for traffic, or None (answer without the dependency) unless the breaker is closed."""
        return Permit(self._generation, probe=False) if lets_through(self._state) else None

    def admit_probe(self) -> Permit | None:
        """A permit for a probe: always while closed, one at a time after the back-off while open."""
        if self._state is BreakerState.HALF_OPEN:
            return None
        if self._state is BreakerState.OPEN:
            if self._clock() < self._open_until_s:
                return None
            self._move_to(BreakerState.HALF_OPEN)
        return Permit(self._generation, probe=True)

    def succeeded(self, permit: Permit) -> None:
        """The call was answered. A half-open probe closes the breaker; traffic also ends the back-off's growth."""
        if permit.generation != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._failures = 0
            self._move_to(BreakerState.CLOSED)
        elif not permit.probe:
            # A probe is lighter than a real call, so its success while closed proves nothing about
            # real calls: a dependency that only answers probes must still trip, ever longer.
            self._failures = 0
            self._trips = 0

    def failed(self, permit: Permit) -> None:
        """The call failed or timed out. Enough of them in a row, or one half-open probe, open the breaker."""
        if permit.generation != self._generation:
            return
        self._failures += 1
        if self._state is BreakerState.HALF_OPEN or self._failures >= self._limits.failures:
            self._open()

    def released(self, permit: Permit) -> None:
        """The call was given up before it told anything (cancelled); a half-open probe is due again at once."""
        if permit.generation == self._generation and self._state is BreakerState.HALF_OPEN:
            self._open_until_s = self._clock()
            self._move_to(BreakerState.OPEN)

    def _open(self) -> None:
        now_s = self._clock()
        if (
            self._state is BreakerState.CLOSED
            and now_s - self._changed_at_s > self._limits.max_open_for_s
        ):
            # It stayed closed for longer than any back-off: this is a new outage, not the old one flapping.
            self._trips = 0
        back_off_s = min(
            self._limits.max_open_for_s, self._limits.open_for_s * 2.0 ** min(self._trips, 32)
        )
        self._trips += 1
        self._open_until_s = now_s + back_off_s * (0.5 + 0.5 * self._jitter())
        self._move_to(BreakerState.OPEN)

    def _move_to(self, state: BreakerState) -> None:
        self._state = state
        self._generation += 1
        self._changed_at_s = self._clock()
        self.on_change(state)

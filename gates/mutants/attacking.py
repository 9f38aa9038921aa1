"""Runs what is asked of killers in several processes, and keeps what they find until an input changes."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from gates.mutants.store import kept
from gates.run.pool import spread
from gates.run.session import Session


class Asked(Protocol):
    """Something to be run; what it finds goes to `place`."""

    @property
    def place(self) -> str:
        """Where the result is found again."""


A = TypeVar("A", bound=Asked)
R = TypeVar("R", bound=Struct)


class Workers(Struct, frozen=True):
    """The processes of a session. What was found before, at the same inputs, is not run again when `cached`."""

    session: Session
    cached: bool

    def find(
        self,
        work: Callable[[str, A], R],
        asked: Sequence[A],
        kind: type[R],
        tell: Callable[[A, R, str], None],
    ) -> None:
        """Have `work` done for everything asked; `tell` hears of each as it is done, with a note."""
        left = []
        for one in asked:
            found = kept(one.place, kind) if self.cached else None
            if found is None:
                left.append(one)
            else:
                tell(one, found, " (cached)")
        workers = self.session.options.workers
        spread(self.session.path, workers, work, left, lambda one, found: tell(one, found, ""))

"""Processor time, counted like a meter: what was spent between two looks is their difference."""

import resource
from collections.abc import Iterable

from msgspec import Struct

from chaos.engine.procfs import cpu_ms


class Usage(Struct, frozen=True):
    """Milliseconds of processor time so far: of this process itself, and of all that it has started."""

    own_ms: float
    started_ms: float

    def since(self, before: "Usage") -> "Usage":
        """What was spent after `before`."""
        return Usage(self.own_ms - before.own_ms, self.started_ms - before.started_ms)


def usage(alive: Iterable[int]) -> Usage:
    """One look. The kernel tells what ended processes have spent, so those that are `alive` are looked at one by one."""
    own, ended = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return Usage(
        (own.ru_utime + own.ru_stime) * 1000,
        (ended.ru_utime + ended.ru_stime) * 1000 + sum(map(cpu_ms, alive)),
    )

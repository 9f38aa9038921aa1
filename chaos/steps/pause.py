"""`pause`: let time pass where time itself is what is tested (an expiry, a window)."""

import asyncio

from chaos.engine.scope import Scope
from chaos.spec.kind import Kind
from chaos.spec.step import Step
from chaos.spec.units import Duration


class Pause(Step, frozen=True, kw_only=True):
    """`pause: 2s`. Where a condition can be awaited, `await` it instead."""

    pause: Duration

    def least_s(self) -> float:
        """All of it."""
        return self.pause.s


async def run(step: Pause, scope: Scope) -> None:
    """Sleep."""
    await asyncio.sleep(step.pause.s)


KIND = Kind("pause", Pause, run, only_reads=True)

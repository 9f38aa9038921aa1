"""`await`: ask again and again until what is expected is answered, or `within` has passed."""

from typing import Final

from chaos.engine.scope import Scope
from chaos.spec.kind import Kind
from chaos.spec.step import Send, Step
from chaos.spec.units import Duration
from chaos.steps.request import ANSWER, poll

DEFAULT_WITHIN: Final = Duration("5s")


class Await(Step, frozen=True, kw_only=True):
    """`await: {get: /readyz}` with an `expect`; `every` is the pause between two tries."""

    await_: Send
    within: Duration | None = None
    every: Duration = Duration("25ms")

    def problem(self) -> str | None:
        """Without something to expect there is nothing to wait for."""
        return "`await` needs an `expect`" if self.expect is None else None


async def run(step: Await, scope: Scope) -> None:
    """Poll; every try is recorded as a request under the step's name."""
    within = step.within or DEFAULT_WITHIN
    await poll(step, step.await_, scope, within.ms, step.every.ms)


KIND = Kind(
    "await",
    Await,
    run,
    observes=ANSWER,
    captures=True,
    sends=True,
    only_reads=True,
    records={"requests.step": "name"},
)

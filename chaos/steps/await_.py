"""`await`: ask again and again until what is expected is answered, or `within` has passed."""

from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.spec.step import Send, Step
from chaos.spec.units import Duration
from chaos.steps.request import poll


class Await(Step, frozen=True, kw_only=True):
    """`await: {get: /readyz}` with an `expect`; `every` is the pause between two tries."""

    await_: Send
    within: Duration | None = Duration("5s")
    every: Duration = Duration("25ms")


async def run(step: Await, scope: Scope) -> None:
    """Poll; every try is recorded as a request under the step's name."""
    if step.expect is None or step.within is None:
        raise HarnessError("`await` needs an `expect` and a `within`")
    await poll(step, step.await_, scope, step.within.ms, step.every.ms)

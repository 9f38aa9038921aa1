"""`hammer`: try to connect to a process's own port all the while other steps run."""

import asyncio

from msgspec import Struct

from chaos.engine.ready import accepts
from chaos.engine.scope import Scope
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.spec.kind import Kind
from chaos.spec.step import Step
from chaos.spec.units import Duration


class Hammer(Step, frozen=True, kw_only=True):
    """`hammer: gateway` around `meanwhile: [start …]`: tries every `every`, from before the first of them.

    Goes on for `linger` after the last of them. `expect` may speak of `accepted`, the number of
    connections that were.
    """

    hammer: str
    every: Duration = Duration("2ms")
    linger: Duration = Duration("100ms")
    meanwhile: list[Step]

    def least_s(self) -> float:
        """What it lingers."""
        return self.linger.s


class _Count(Struct):
    tries: int = 0
    accepted: int = 0
    accepted_ms: float | None = None


async def run(step: Hammer, scope: Scope) -> int:
    """Count tries and how many were accepted; when the first one was."""
    process = scope.variables.text(step.hammer)
    port = scope.stack.port(process)
    count = _Count()
    began_ms = scope.clock.now_ms()
    first_try, stop = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(_try_on(port, step.every.s, count, scope, first_try, stop))
    try:
        await first_try.wait()
        await scope.run_steps(step.meanwhile, "meanwhile")
        await asyncio.sleep(step.linger.s)
    finally:
        # Not cancelled: a try that ends at that very moment would swallow it (asyncio before 3.12).
        stop.set()
        await task
        scope.recorder.add(
            schema.Hammer,
            hammer=scope.step_name(step),
            vars=as_json(scope.row_vars),
            process=process,
            port=port,
            tries=count.tries,
            accepted=count.accepted,
            hammer_began_ms=began_ms,
            hammer_ended_ms=scope.clock.now_ms(),
            accepted_ms=count.accepted_ms,
        )
    scope.check(step.expect, {"accepted": count.accepted})
    return 1


async def _try_on(
    port: int,
    every_s: float,
    count: _Count,
    scope: Scope,
    first_try: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    while not stop.is_set():
        if await accepts(scope.stack.host, port):
            count.accepted += 1
            if count.accepted_ms is None:
                count.accepted_ms = scope.clock.now_ms()
        count.tries += 1
        first_try.set()
        await asyncio.sleep(every_s)


KIND = Kind(
    "hammer",
    Hammer,
    run,
    observes=frozenset({"accepted"}),
    names={"hammer": "process"},
    records={"hammers.hammer": "name"},
)

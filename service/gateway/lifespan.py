"""What runs beside the requests: probes of the dependencies, the clock's mark, a look at the tokens, tasks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

from litestar import Litestar

from service.auth.registry import Registry
from service.clock import Clock
from service.domain.call import Services
from service.storage import Storage
from service.timers import Timer, Timers

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]
TICK_EVERY_S: Final = 1.0


def running(services: Services) -> Lifespan:
    """Return the application's lifespan."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        services.dependencies.start()
        services.timers.start()
        try:
            yield
        finally:
            await services.worker.stop()
            await services.timers.stop()
            await services.slo.stop()
            await services.outbox.stop()
            await services.dependencies.close()
            await services.exporter.stop()
            with contextlib.suppress(OSError):
                await services.trace_writer.flush()
            services.denied.flush(services.new_id("end"))

    return lifespan


def timers(clock: Clock, storage: Storage, registry: Registry, *others: Timer) -> Timers:
    """`others`, and what is done once a second, each by itself, so that none waits for another or ends with it.

    The clock's mark is put on disk, so that an idle gateway's time outlives it, too. The tokens are read anew after any
    change, so that a command that was killed after its COMMIT and before it could say so has its effect nevertheless.
    What happened and could not be written down is written.
    """
    seen: object = None

    async def look_at_tokens() -> None:
        nonlocal seen
        version = storage.read(lambda connection: connection.pragma("data_version"))
        if version != seen:
            registry.invalidate()
            seen = version

    return Timers(
        (
            Timer("clock", TICK_EVERY_S, partial(asyncio.to_thread, clock.sync)),
            Timer("tokens", TICK_EVERY_S, look_at_tokens),
            Timer("owed", TICK_EVERY_S, storage.catch_up),
            *others,
        )
    )

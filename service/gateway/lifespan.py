"""What runs beside the requests: probes of the dependencies, and the clock's mark."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from litestar import Litestar

from service.clock import Clock
from service.gateway.call import Services

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]
MARK_EVERY_S: Final = 1.0


def running(services: Services) -> Lifespan:
    """Return the application's lifespan."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        services.dependencies.start()
        marking = asyncio.create_task(keep_mark(services.clock))
        try:
            yield
        finally:
            marking.cancel()
            await services.dependencies.close()
            services.denied.flush(services.new_id("end"))

    return lifespan


async def keep_mark(clock: Clock) -> None:
    """Put the clock's mark on disk every second, so that an idle gateway's time outlives it too."""
    while True:
        await asyncio.to_thread(clock.sync)
        await asyncio.sleep(MARK_EVERY_S)

"""What runs beside the requests: probes of the dependencies, the clock's mark, a look at the tokens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from litestar import Litestar

from service.domain.call import Services

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]
TICK_EVERY_S: Final = 1.0


def running(services: Services) -> Lifespan:
    """Return the application's lifespan."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        services.dependencies.start()
        ticking = asyncio.create_task(tick(services))
        try:
            yield
        finally:
            ticking.cancel()
            await services.dependencies.close()
            services.denied.flush(services.new_id("end"))

    return lifespan


async def tick(services: Services) -> None:
    """Once a second, put the clock's mark on disk and have the tokens read anew after any change.

    So an idle gateway's time outlives it too, and a command that was killed after its COMMIT and
    before it could say so has its effect nevertheless.
    """
    seen: object = None
    while True:
        await asyncio.to_thread(services.clock.sync)
        version = services.storage.read(lambda connection: connection.pragma("data_version"))
        if version != seen:
            services.registry.invalidate()
            seen = version
        await asyncio.sleep(TICK_EVERY_S)

"""A gateway's dependencies that answer without any other process."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec

from service.dependencies.breaker import BreakerState
from service.domain.call import Services
from service.messages.memory import Memory


def with_stubs(services: Services, model_s: float = 0) -> Services:
    """`services` whose memory answers at once, and whose model takes `model_s` seconds and no processor time."""
    up = SimpleNamespace(breaker_state=BreakerState.CLOSED)

    async def search(*_: object, **__: object) -> list[Memory]:
        return []

    async def answer(*_: object, **__: object) -> str:
        if model_s:
            await asyncio.sleep(model_s)
        return "It hangs behind the door."

    async def close() -> None:
        pass

    stubs: Any = SimpleNamespace(
        by_name={"memory": up, "model": up},
        memory=SimpleNamespace(search=search),
        model=SimpleNamespace(answer=answer),
        start=lambda: None,
        close=close,
    )
    return msgspec.structs.replace(services, dependencies=stubs)

"""How long a stream may stay open: its token is looked at again, on a timer and before each frame."""

import asyncio
from typing import Final

from service.auth.credentials import Actor, Presented
from service.auth.roles import Role, permits
from service.domain.call import Services

TOKEN_OVER: Final = 4401
ROLE_LOST: Final = 4403


def closing_code(services: Services, presented: Presented | None) -> int | None:
    """Decide whether a stream may stay open now: None, or the code to close it with."""
    if not services.settings.auth.enabled:
        return None
    actor = holder(services, presented)
    if actor is None:
        return TOKEN_OVER
    return None if permits(actor.role, Role.OPERATOR) else ROLE_LOST


def holder(services: Services, presented: Presented | None) -> Actor | None:
    """Who is behind a stream's token now; None once it is over."""
    if presented is None:
        return None
    now_ms = services.clock.now_ms()
    verdict = services.registry.verify(presented, now_ms)
    if isinstance(verdict, Actor):
        return verdict
    # As for requests: the end must outlive this process, or a clock turned back would undo it.
    services.clock.persist(now_ms)
    return None


async def watch(services: Services, presented: Presented | None) -> int:
    """Look at the stream's token on a timer, whether anything is sent or not; return the closing code."""
    while True:
        await asyncio.sleep(services.settings.auth.stream_recheck_s)
        code = closing_code(services, presented)
        if code is not None:
            return code

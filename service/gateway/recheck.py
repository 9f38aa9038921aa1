"""How long a stream may stay open: its token is looked at again, on a timer and before each frame."""

import asyncio
from typing import Final

from service.auth.credentials import Actor, Presented
from service.auth.refusals import Refusal
from service.auth.roles import Role
from service.domain.call import Services
from service.errors import Forbidden
from service.http.authentication import AUTH_OFF, authenticate
from service.http.denials import refuse_credentials
from service.http.guards import authorize
from service.reliability.tracing import Trace, answer_of

TOKEN_OVER: Final = 4401
ROLE_LOST: Final = 4403


def closing_code(services: Services, presented: Presented | None, trace: Trace) -> int | None:
    """Decide whether a stream may stay open now: None, or the code to close it with."""
    actor = holder(services, presented, trace)
    if actor is None:
        return TOKEN_OVER
    try:
        authorize(trace, actor, Role.OPERATOR)
    except Forbidden as refused:
        trace.answered(answer_of(refused))
        return ROLE_LOST
    return None


def holder(services: Services, presented: Presented | None, trace: Trace) -> Actor | None:
    """Who is behind a stream's token now; None once it is over."""
    shown = presented or Refusal.MALFORMED if services.settings.auth.enabled else AUTH_OFF
    verdict = authenticate(trace, shown, services.registry.look_up, services.clock.now_ms)
    if isinstance(verdict, Actor):
        return verdict
    trace.answered(refuse_credentials(verdict).answer)
    # As for requests: the end must outlive this process, or a clock turned back would undo it.
    trace.act(lambda: services.clock.persist(services.clock.now_ms()))
    return None


async def watch(services: Services, presented: Presented | None) -> int:
    """Look at the stream's token on a timer, whether anything is sent or not; return the closing code."""
    while True:
        await asyncio.sleep(services.settings.auth.stream_recheck_s)
        code = closing_code(services, presented, Trace("", "frame"))
        if code is not None:
            return code

"""Turns over HTTP."""

from litestar import post
from litestar.params import JSONBody

from service.auth.roles import Role
from service.domain.call import Call, InjectedCall
from service.domain.turns.pipeline import TurnAnswer, TurnRequest, answer_turn, in_turn_of
from service.http.guards import require_role
from service.reliability.verdicts import Queue


@post("/v1/turn", guards=[require_role(Role.OPERATOR)], status_code=200)
async def take_turn(data: JSONBody[TurnRequest], call: InjectedCall) -> TurnAnswer:
    """Answer `text`, with what is remembered about it.

    A missing dependency degrades the answer and never fails it. 404 for an unknown session, 409 for one that is over; 503
    when too much waits to be answered: then nothing was done.
    """
    return await answer_in_turn(call, data)


async def answer_in_turn(call: Call, request: TurnRequest) -> TurnAnswer:
    """Answer when its turn comes; the same for a request and for its replay."""
    async with in_turn_of(call, request, Queue.MODEL):
        return await answer_turn(call, request)


HANDLERS = [take_turn]

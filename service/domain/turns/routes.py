"""Turns over HTTP."""

from litestar import post
from litestar.params import JSONBody

from service.auth.roles import Role
from service.domain.call import InjectedCall
from service.domain.turns.pipeline import TurnAnswer, TurnRequest, answer_turn
from service.http.guards import require_role
from service.reliability.admission import Queue
from service.reliability.ingress import cost_of


@post("/v1/turn", guards=[require_role(Role.OPERATOR)], status_code=200)
async def take_turn(data: JSONBody[TurnRequest], call: InjectedCall) -> TurnAnswer:
    """Answer `text`, with what is remembered about it.

    A missing dependency degrades the answer and never fails it. 404 for an unknown session, 409 for one that is over; 503
    when too much waits to be answered: then nothing was done.
    """
    async with call.services.ingress.admitted(Queue.MODEL, cost_of(data.text), call.trace):
        return await answer_turn(call, data)


HANDLERS = [take_turn]

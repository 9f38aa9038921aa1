"""Confirmations over HTTP: who waits, and the one decision on each."""

from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

import msgspec
from litestar import post, route
from litestar.params import FromPath, JSONBody

from service.auth.roles import Role
from service.domain.call import Call, InjectedCall
from service.domain.confirmations import records
from service.domain.confirmations.records import Confirmation, Overdue
from service.domain.tools.records import ToolAnswer, ToolRun, tool_answer
from service.effects import Cause, Origin, Step
from service.errors import Conflict, Invalid
from service.http.guards import require_role
from service.http.idempotency import AHEAD
from service.http.paging import Cursor, Limit, Page, read_page
from service.http.routing import READ

T = TypeVar("T")
F = TypeVar("F")
R = TypeVar("R")


class ApproveRequest(msgspec.Struct, frozen=True):
    """A decision. `args_sha256` says which arguments it is about; without it nothing is approved."""

    confirmation_id: str
    decision: Literal["approve", "deny"]
    args_sha256: str | None = None


class ApproveAnswer(msgspec.Struct, frozen=True):
    """What was decided, and what came of running it."""

    confirmation_id: str
    status: str
    decided_by: str
    run: ToolAnswer | None = None


@route(
    "/v1/confirmations",
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def list_confirmations(
    call: InjectedCall, limit: Limit = 50, cursor: Cursor = None
) -> Page[Confirmation]:
    """List confirmations, oldest first."""
    now_ms = call.now_ms()
    return call.storage.read(
        lambda connection: read_page(
            connection, Confirmation, records.CONFIRMATIONS, limit, cursor, (now_ms,)
        )
    )


@route(
    "/v1/confirmations/{confirmation_id:str}",
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=False,
)
def get_confirmation(call: InjectedCall, confirmation_id: FromPath[str]) -> Confirmation:
    """Show one confirmation."""
    now_ms = call.now_ms()
    return call.storage.read(lambda connection: records.find(connection, confirmation_id, now_ms))


@post(["/approve", "/v1/approve"], guards=[require_role(Role.OPERATOR)], status_code=200, opt=AHEAD)
async def approve(call: InjectedCall, data: JSONBody[ApproveRequest]) -> ApproveAnswer:
    """Decide a confirmation, and run the stored call when it is approved.

    409 when it was decided before, has expired, or holds other arguments than the caller looked at.
    """
    return await decide(call, data)


async def decide(call: Call, data: ApproveRequest) -> ApproveAnswer:
    """Take the decision; the same for a request and for its replay."""
    call.trace.envelope["approve"] = data
    try:
        return await (
            _run_approve(call, data) if data.decision == "approve" else _run_deny(call, data)
        )
    except Overdue:
        with call.trace.stage("commit") as stage:
            await call.trace.computed("expired", lambda: _expire(call, data.confirmation_id), None)
            stage.decide("committed")
        message = f"the confirmation {data.confirmation_id} has expired"
        raise Conflict(message, records.EXPIRED) from None


async def _expire(call: Call, confirmation_id: str) -> None:
    cause = records.expire_cause(call.request_id, confirmation_id)
    step = records.expiring(
        confirmation_id, lambda: Origin(records.SYSTEM, call.request_id, call.now_ms())
    )
    await _take(call, cause, step)


async def _take(call: Call, cause: Cause, step: Step[F, T, R]) -> T:
    """Take a step in a transaction of its own; return what it decided."""
    return await call.trace.transact(lambda run: call.storage.change(cause, run), *step)


async def _settle(call: Call, take: Callable[[], Awaitable[T]], form: object, decision: str) -> T:
    """Decide a confirmation in one transaction: the stage `policy`. Raises Overdue."""
    with call.trace.stage("policy") as stage:
        try:
            settled = await call.trace.computed("settled", take, form, (Overdue,))
        except Overdue:
            stage.decide("refused", records.EXPIRED)
            raise
        stage.decide(decision)
        return settled


async def _run_deny(call: Call, data: ApproveRequest) -> ApproveAnswer:
    cause = call.cause("confirmation.deny", data.confirmation_id)

    async def deny() -> None:
        step = records.denying(data.confirmation_id, call.origin)
        await _take(call, cause, step)

    await _settle(call, deny, None, "deny")
    return ApproveAnswer(data.confirmation_id, "denied", call.actor.id)


async def _run_approve(call: Call, data: ApproveRequest) -> ApproveAnswer:
    args_sha256 = data.args_sha256
    if args_sha256 is None:
        raise Invalid("args_sha256 is needed to approve")
    cause = call.cause("confirmation.approve", data.confirmation_id)

    async def approve() -> ToolRun:
        run_id = call.trace.take("id", lambda: call.services.new_id("run"), str)
        step = records.approving(data.confirmation_id, args_sha256, run_id, call.origin)
        approved = await _take(call, cause, step)
        return approved.run

    begun = await _settle(call, approve, ToolRun, "allow")
    ended = await call.services.runner.run(begun, call.actor.id, call.request_id, call.trace)
    call.trace.act(call.services.worker.wake)
    return ApproveAnswer(data.confirmation_id, "approved", call.actor.id, tool_answer(ended))


HANDLERS = [list_confirmations, get_confirmation, approve]

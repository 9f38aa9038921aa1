"""Decisions: approve or deny a waiting call. One decision wins, and an approved call runs once."""

from functools import partial
from typing import Literal

import apsw
import msgspec
from litestar import post
from litestar.params import JSONBody

from service.auth.roles import Role
from service.errors import Conflict, Forbidden, Invalid
from service.gateway.call import Call, InjectedCall
from service.gateway.confirmations import (
    SYSTEM,
    Decided,
    Overdue,
    expire,
    expire_cause,
    find_in_time,
    settle,
)
from service.gateway.policies import decision
from service.gateway.toolcalls import ToolAnswer, tool_answer
from service.gateway.toolruns import ToolRun, begin_run, run_tool
from service.http.guards import require_role
from service.storage import Effect
from service.tools.table import TOOLS


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


def decided_by(call: Call) -> Decided:
    """The caller as the one who decides, now."""
    return Decided(call.actor.id, call.now_ms(), call.request_id)


def _deny(connection: apsw.Connection, call: Call, request: ApproveRequest) -> Effect[None]:
    decided = decided_by(call)
    row = find_in_time(connection, request.confirmation_id, decided.at_ms)
    settle(connection, row.id, "denied", decided)
    return Effect(None, "confirmations", row.id, {"args_sha256": row.args_sha256})


def _approve(connection: apsw.Connection, call: Call, request: ApproveRequest) -> Effect[ToolRun]:
    """Settle the confirmation and record that its run begins, in one transaction."""
    decided = decided_by(call)
    row = find_in_time(connection, request.confirmation_id, decided.at_ms)
    if request.args_sha256 != row.args_sha256:
        raise Conflict("args_sha256 is not the hash of the stored arguments", "args_mismatch")
    if row.tool not in TOOLS or decision(connection, TOOLS[row.tool].safety.value) == "deny":
        raise Forbidden(f"the policy denies {row.tool} by now", "policy_denied")
    settle(connection, row.id, "approved", decided)
    run = ToolRun(
        run_id=call.services.new_id("run"),
        tool=row.tool,
        arguments_json=row.args.decode(),
        approval=f"confirmation:{row.id}",
        confirmation_id=row.id,
    )
    begin_run(connection, call, run)
    return Effect(run, "confirmations", row.id, {"args_sha256": row.args_sha256, "run": run.run_id})


@post(["/approve", "/v1/approve"], guards=[require_role(Role.OPERATOR)], status_code=200)
async def approve(call: InjectedCall, data: JSONBody[ApproveRequest]) -> ApproveAnswer:
    """Decide a confirmation, and run the stored call when it is approved.

    409 when it was decided before, has expired, or holds other arguments than the caller looked at.
    """
    try:
        return await (
            _run_approve(call, data) if data.decision == "approve" else _run_deny(call, data)
        )
    except Overdue:
        decided = Decided(SYSTEM, call.now_ms(), call.request_id)
        run = partial(expire, confirmation_id=data.confirmation_id, decided=decided)
        await call.storage.change(expire_cause(call.request_id, data.confirmation_id), run)
        message = f"the confirmation {data.confirmation_id} has expired"
        raise Conflict(message, "confirmation_expired") from None


async def _run_deny(call: Call, data: ApproveRequest) -> ApproveAnswer:
    cause = call.cause("confirmation.deny", data.confirmation_id)
    await call.storage.change(cause, partial(_deny, call=call, request=data))
    return ApproveAnswer(data.confirmation_id, "denied", call.actor.id)


async def _run_approve(call: Call, data: ApproveRequest) -> ApproveAnswer:
    if data.args_sha256 is None:
        raise Invalid("args_sha256 is needed to approve")
    cause = call.cause("confirmation.approve", data.confirmation_id)
    begun = await call.storage.change(cause, partial(_approve, call=call, request=data))
    ended = await run_tool(call, begun)
    return ApproveAnswer(data.confirmation_id, "approved", call.actor.id, tool_answer(ended))


HANDLERS = [approve]

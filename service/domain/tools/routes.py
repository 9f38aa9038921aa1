"""Tools as seen by operators: what there is, and the policy that every call meets before anything runs."""

import apsw
import msgspec
from litestar import Response, post, route
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from service.auth.roles import Role
from service.domain.call import Call, InjectedCall
from service.domain.confirmations.records import Confirmation, NewConfirmation, create_confirmation
from service.domain.policies.records import decision
from service.domain.sessions.records import live_session
from service.domain.tools.records import ToolAnswer, ToolRun, begin_run, tool_answer
from service.effects import Effect
from service.errors import Forbidden, NotFound, OutcomeUnknown, Unavailable, Unprocessable
from service.http.guards import require_role
from service.http.routing import READ
from service.messages.tool_table import (
    TOOLS,
    BadArguments,
    Tool,
    UnknownTool,
    arguments_sha256,
    canonical_arguments,
)
from service.reliability.admission import Queue
from service.reliability.ingress import cost_of


class AnswerLost(OutcomeUnknown):
    """The tool may have run; its answer was lost. It is not tried again."""

    status = 504
    default_code = "tool_outcome_unknown"


class ToolItem(msgspec.Struct, frozen=True):
    """One tool. `policy` is what happens to a call now: allow, confirm or deny; `arguments` is a JSON Schema."""

    name: str
    safety: str
    policy: str
    description: str
    verification: str
    arguments: dict[str, object]


class ToolPage(msgspec.Struct, frozen=True):
    """All tools."""

    items: list[ToolItem]
    next_cursor: str | None = None


class ExecuteRequest(msgspec.Struct, frozen=True):
    """Arguments for a tool, and the session on whose behalf, if on one's."""

    arguments: dict[str, object]
    session_id: str | None = None


class _Asked(msgspec.Struct, frozen=True):
    """A call that names a tool there is, with arguments that fit it."""

    tool: Tool
    arguments_json: str
    session_id: str | None


class _DeniedByPolicy(Exception):
    """The policy forbids the call; nothing was written."""


@route("/v1/tools", http_method=READ, guards=[require_role(Role.OBSERVER)], sync_to_thread=False)
def list_tools(call: InjectedCall) -> ToolPage:
    """Every tool there is, how dangerous it is, and what happens to a call of it at present."""
    return call.storage.read(
        lambda connection: ToolPage([_item(connection, tool) for tool in TOOLS.values()])
    )


@post(
    "/v1/tools/{name:str}/execute",
    guards=[require_role(Role.OPERATOR)],
    status_code=200,
    responses={202: ResponseSpec(ToolAnswer, description="A confirmation waits for a decision.")},
)
async def execute_tool(
    name: FromPath[str], data: JSONBody[ExecuteRequest], call: InjectedCall
) -> Response[ToolAnswer]:
    """Run a tool, or ask for a confirmation first, as the policy of its safety class says.

    200 with what came of it; 202 with the confirmation to decide; 403 when the policy denies it or the tool was led
    out of its workspace; 404 unknown tool or session; 422 bad arguments; 503 nothing ran; 504 it may have run.
    """
    try:
        arguments_json = canonical_arguments(name, data.arguments)
    except UnknownTool as error:
        raise NotFound(f"there is no tool {name!r}", "unknown_tool") from error
    except BadArguments as error:
        raise Unprocessable(str(error), "bad_arguments") from error
    asked = _Asked(TOOLS[name], arguments_json, data.session_id)
    async with call.services.ingress.admitted(Queue.TOOL, cost_of(arguments_json), call.trace):
        return await _execute(call, asked)


async def _execute(call: Call, asked: _Asked) -> Response[ToolAnswer]:
    """Run it, or ask first, as its policy says; until now nothing was written."""
    name = asked.tool.name
    cause = call.cause("tool.execute", name)
    try:
        admitted = await call.storage.change(
            cause, lambda connection: _admit(connection, call, asked)
        )
    except _DeniedByPolicy:
        call.services.denied.record(msgspec.structs.replace(cause, outcome="denied"), "policy")
        raise Forbidden(f"the policy denies {name}", "policy_denied") from None
    if isinstance(admitted, Confirmation):
        return _waiting_answer(asked, admitted)
    run = await call.services.runner.run(admitted, call.actor.id, call.request_id)
    return _answer(call, run)


def _item(connection: apsw.Connection, tool: Tool) -> ToolItem:
    return ToolItem(
        name=tool.name,
        safety=tool.safety.value,
        policy=decision(connection, tool.safety.value),
        description=tool.description,
        verification=tool.verification,
        arguments=msgspec.json.schema(tool.arguments),
    )


def _admit(
    connection: apsw.Connection, call: Call, asked: _Asked
) -> Effect[ToolRun | Confirmation]:
    """Begin the run, or store the question, as the policy of this very transaction says."""
    if asked.session_id is not None:
        live_session(connection, asked.session_id, call.now_ms())
    match decision(connection, asked.tool.safety.value):
        case "allow":
            return Effect(*msgspec.structs.astuple(_begin(connection, call, asked)))
        case "confirm":
            return Effect(*msgspec.structs.astuple(_ask(connection, call, asked)))
        case "deny":
            raise _DeniedByPolicy


def _begin(connection: apsw.Connection, call: Call, asked: _Asked) -> Effect[ToolRun]:
    approval = f"policy:{asked.tool.safety.value}"
    run_id = call.services.new_id("run")
    run = ToolRun(run_id, asked.tool.name, asked.arguments_json, approval)
    return begin_run(connection, run, call.origin())


def _ask(connection: apsw.Connection, call: Call, asked: _Asked) -> Effect[Confirmation]:
    new = NewConfirmation(
        id=call.services.new_id("conf"),
        tool=asked.tool.name,
        args=asked.arguments_json.encode(),
        session_id=asked.session_id,
        ttl_ms=round(call.services.settings.confirmations.ttl_s * 1000),
    )
    return create_confirmation(connection, new, call.origin())


def _waiting_answer(asked: _Asked, confirmation: Confirmation) -> Response[ToolAnswer]:
    answer = ToolAnswer(
        tool=asked.tool.name,
        status="confirmation_required",
        args_sha256=arguments_sha256(asked.arguments_json),
        confirmation_id=confirmation.id,
        expires_at_ms=confirmation.expires_at_ms,
    )
    location = f"/v1/confirmations/{confirmation.id}"
    return Response(answer, status_code=202, headers={"Location": location})


def _answer(call: Call, run: ToolRun) -> Response[ToolAnswer]:
    reason = run.error or "no reason was given"
    match run.error_code:
        case "tools_unavailable":
            retry_after_ms = call.services.dependencies.tools.retry_in_ms()
            raise Unavailable(
                "the tools process is unavailable; nothing was run", run.error_code, retry_after_ms
            )
        case "tool_outcome_unknown":
            raise AnswerLost(f"run {run.run_id} was interrupted: {reason}")
        case "path_outside_workspace":
            raise Forbidden(reason, run.error_code)
        case _:
            return Response(tool_answer(run))


HANDLERS = (list_tools, execute_tool)

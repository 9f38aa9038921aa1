"""Tools as seen by operators: what there is, and the policy that every call meets before anything runs."""

import apsw
import msgspec
from litestar import Response, post, route
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from service.auth.roles import Role
from service.domain.call import Call, InjectedCall
from service.domain.confirmations.records import (
    Confirmation,
    NewConfirmation,
    create_confirmation,
    end_of,
)
from service.domain.policies.records import Decision, decision
from service.domain.sessions.records import Life, judge_session, life_of
from service.domain.tools.records import ToolAnswer, ToolRun, begin_run, tool_answer
from service.effects import Cause, Effect
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
from service.reliability.ingress import cost_of
from service.reliability.verdicts import Queue


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


class ToolRequest(msgspec.Struct, frozen=True):
    """A call of a tool, as it was asked for."""

    tool: str
    arguments: dict[str, object]
    session_id: str | None


class _Ids(msgspec.Struct, frozen=True):
    """What the rows are called that a call may write."""

    run: str
    confirmation: str


class _Facts(msgspec.Struct, frozen=True):
    """All that decides what becomes of a call."""

    session: Life | None
    decision: Decision
    now_ms: int


class _Admitted(msgspec.Struct, frozen=True):
    """What becomes of a call: it runs, or a question waits; and the facts by which that was decided."""

    plan: ToolRun | NewConfirmation
    facts: _Facts


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
    return await execute(call, ToolRequest(name, data.arguments, data.session_id))


async def execute(call: Call, request: ToolRequest) -> Response[ToolAnswer]:
    """Execute a tool; the same for a request and for its replay."""
    call.trace.envelope["tool"] = request
    try:
        arguments_json = canonical_arguments(request.tool, request.arguments)
    except UnknownTool as error:
        raise NotFound(f"there is no tool {request.tool!r}", "unknown_tool") from error
    except BadArguments as error:
        raise Unprocessable(str(error), "bad_arguments") from error
    asked = _Asked(TOOLS[request.tool], arguments_json, request.session_id)
    async with call.services.ingress.admitted(Queue.TOOL, cost_of(arguments_json), call.trace):
        return await _execute(call, asked)


async def _execute(call: Call, asked: _Asked) -> Response[ToolAnswer]:
    """Run it, or ask first, as its policy says; until now nothing was written."""
    cause = call.cause("tool.execute", asked.tool.name)
    try:
        admitted = await _admit(call, asked, cause)
    except Forbidden:
        denied = msgspec.structs.replace(cause, outcome="denied")
        call.trace.act(lambda: call.services.denied.record(denied, "policy"))
        raise
    if isinstance(admitted.plan, NewConfirmation):
        return _waiting_answer(asked, admitted)
    run = await call.services.runner.run(admitted.plan, call.actor.id, call.request_id, call.trace)
    return _answer(call, run)


async def _admit(call: Call, asked: _Asked, cause: Cause) -> _Admitted:
    """Begin the run, or store the question, as the policy of one transaction says: the stage `policy`. Raises Forbidden."""
    with call.trace.stage("policy") as stage:
        new_id = call.services.new_id
        ids = call.trace.take("ids", lambda: _Ids(new_id("run"), new_id("conf")), _Ids)
        ttl_ms = round(call.services.settings.confirmations.ttl_s * 1000)
        admitted = await call.trace.transact(
            lambda run: call.storage.change(cause, run),
            lambda connection: _look(connection, asked, call.now_ms()),
            _Facts,
            lambda facts: _judge(asked, facts, ids, ttl_ms),
            lambda connection, admitted: _write(connection, call, admitted),
        )
        stage.decide("confirm" if isinstance(admitted.plan, NewConfirmation) else "allow")
        return admitted


def _look(connection: apsw.Connection, asked: _Asked, now_ms: int) -> _Facts:
    session = life_of(connection, asked.session_id)
    return _Facts(session, decision(connection, asked.tool.safety.value), now_ms)


def _judge(asked: _Asked, facts: _Facts, ids: _Ids, ttl_ms: int) -> _Admitted:
    """Decide what becomes of a call. Raises NotFound and Conflict for its session, Forbidden by its policy. Pure."""
    judge_session(asked.session_id, facts.session, facts.now_ms)
    name, safety = asked.tool.name, asked.tool.safety.value
    match facts.decision:
        case "allow":
            run = ToolRun(ids.run, name, asked.arguments_json, f"policy:{safety}")
            return _Admitted(run, facts)
        case "confirm":
            args = asked.arguments_json.encode()
            return _Admitted(
                NewConfirmation(ids.confirmation, name, args, asked.session_id, ttl_ms), facts
            )
        case "deny":
            raise Forbidden(f"the policy denies {name}", "policy_denied")


def _write(connection: apsw.Connection, call: Call, admitted: _Admitted) -> Effect[None]:
    origin = msgspec.structs.replace(call.origin(), now_ms=admitted.facts.now_ms)
    done: Effect[ToolRun] | Effect[Confirmation]
    if isinstance(admitted.plan, NewConfirmation):
        done = create_confirmation(connection, admitted.plan, origin)
    else:
        done = begin_run(connection, admitted.plan, origin)
    return Effect(None, done.table, done.id, done.detail, done.after_commit, done.also)


def _item(connection: apsw.Connection, tool: Tool) -> ToolItem:
    return ToolItem(
        name=tool.name,
        safety=tool.safety.value,
        policy=decision(connection, tool.safety.value),
        description=tool.description,
        verification=tool.verification,
        arguments=msgspec.json.schema(tool.arguments),
    )


def _waiting_answer(asked: _Asked, admitted: _Admitted) -> Response[ToolAnswer]:
    assert isinstance(admitted.plan, NewConfirmation)
    answer = ToolAnswer(
        tool=asked.tool.name,
        status="confirmation_required",
        args_sha256=arguments_sha256(asked.arguments_json),
        confirmation_id=admitted.plan.id,
        expires_at_ms=end_of(admitted.plan, admitted.facts.now_ms, admitted.facts.session),
    )
    location = f"/v1/confirmations/{admitted.plan.id}"
    return Response(answer, status_code=202, headers={"Location": location})


def _answer(call: Call, run: ToolRun) -> Response[ToolAnswer]:
    reason = run.error or "no reason was given"
    match run.error_code:
        case "tools_unavailable":
            retry_after_ms = call.trace.take(
                "retry_in_ms", call.services.dependencies.tools.retry_in_ms, int
            )
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

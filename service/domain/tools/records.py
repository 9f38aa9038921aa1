"""One run of a tool: recorded as begun with what allowed it, run at most once, recorded as ended.

Between the two records lies the effect, in another process. A run that is found begun and not ended, or whose answer
was lost, may have happened: it becomes `needs_operator` and is never repeated by itself.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

import apsw
import msgspec

from service.domain.tasks.records import State, end_with_run
from service.effects import Effect, Origin, system_cause
from service.ids import NewId
from service.jsontypes import Json
from service.messages.tool_table import arguments_sha256
from service.messages.tools import Outcome, ToolOutcome
from service.storage import Storage

MAX_KEPT_BYTES: Final = 16_384

_STATUS: Final[Mapping[Outcome, str]] = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.FAILED: "failed",
    Outcome.TIMED_OUT: "failed",
    Outcome.REFUSED: "failed",
    Outcome.VERIFICATION_FAILED: "verification_failed",
}


class ToolRun(msgspec.Struct, frozen=True):
    """A run, before, during or after. `status`: started, succeeded, failed, verification_failed or needs_operator.

    `arguments_json` are the canonical arguments, character for character what is run. `task` is where the task stood,
    when the run is one's, as it began.
    """

    run_id: str
    tool: str
    arguments_json: str
    approval: str | None
    confirmation_id: str | None = None
    status: str = "started"
    result: dict[str, object] = {}
    error_code: str | None = None
    error: str | None = None
    task: State | None = None


class ToolAnswer(msgspec.Struct, frozen=True):
    """What a call came to: its result, or the confirmation it waits for.

    `status`: succeeded, failed, verification_failed, or confirmation_required with `confirmation_id` and
    `expires_at_ms` set. `args_sha256` is over the canonical arguments.
    """

    tool: str
    status: str
    args_sha256: str
    run_id: str | None = None
    result: dict[str, object] = {}
    error_code: str | None = None
    error: str | None = None
    confirmation_id: str | None = None
    expires_at_ms: int | None = None


def tool_answer(run: ToolRun) -> ToolAnswer:
    """A finished run as an answer. Pure."""
    return ToolAnswer(
        tool=run.tool,
        status=run.status,
        args_sha256=arguments_sha256(run.arguments_json),
        run_id=run.run_id,
        result=run.result,
        error_code=run.error_code,
        error=run.error,
        confirmation_id=run.confirmation_id,
    )


def begin_run(connection: apsw.Connection, run: ToolRun, origin: Origin) -> Effect[ToolRun]:
    """Record that `run` begins, in the transaction of the decision that allows it."""
    connection.execute(
        "INSERT INTO tool_runs (id, tool, args, args_sha256, confirmation_id, task_id, status, created_at_ms,"
        " updated_at_ms, created_by, request_id) VALUES (?, ?, ?, ?, ?, ?, 'started', ?, ?, ?, ?)",
        (
            run.run_id,
            run.tool,
            run.arguments_json.encode(),
            arguments_sha256(run.arguments_json),
            run.confirmation_id,
            run.task.task_id if run.task else None,
            origin.now_ms,
            origin.now_ms,
            origin.actor_id,
            origin.request_id,
        ),
    )
    return Effect(
        run, "tool_runs", run.run_id, {"args_sha256": arguments_sha256(run.arguments_json)}
    )


def ended_with(run: ToolRun, outcome: ToolOutcome) -> ToolRun:
    """`run`, ended by what the tools process says. Pure."""
    return msgspec.structs.replace(
        run,
        status=_STATUS[outcome.outcome],
        result=outcome.result,
        error_code=outcome.error_code,
        error=outcome.error,
    )


def settle_interrupted(storage: Storage, now_ms: int, new_id: NewId) -> int:
    """Hand every run that an earlier process began and did not end to an operator; return how many.

    Called at start-up, before anything can be begun. Each gets an audit row of its own.
    """
    interrupted = storage.read(
        lambda connection: list(
            connection.execute(
                "SELECT id, tool FROM tool_runs WHERE status = 'started' ORDER BY seq"
            )
        )
    )
    request_id = new_id("boot")
    for run_id, tool in interrupted:
        cause = system_cause("tools", "tool.interrupted", request_id, str(tool))
        storage.change_now(cause, partial(_settle, run_id=str(run_id), now_ms=now_ms))
    return len(interrupted)


def _settle(connection: apsw.Connection, run_id: str, now_ms: int) -> Effect[None]:
    connection.execute(
        "UPDATE tool_runs SET status = 'needs_operator', updated_at_ms = ? WHERE id = ?",
        (now_ms, run_id),
    )
    return Effect(None, "tool_runs", run_id, {"status": "needs_operator"})


def end_run(connection: apsw.Connection, run: ToolRun, origin: Origin) -> Effect[ToolRun]:
    """Record how a run ended, on behalf of whoever asked for it, and with it its task's end."""
    kept = _kept(run, {"result": run.result})
    connection.execute(
        "UPDATE tool_runs SET status = ?, result = ?, updated_at_ms = ? WHERE id = ? AND status = 'started'",
        (run.status, kept.decode(), origin.now_ms, run.run_id),
    )
    detail: dict[str, Json] = {
        "status": run.status,
        "error_code": run.error_code,
        "on_behalf_of": origin.actor_id,
    }
    return Effect(run, "tool_runs", run.run_id, detail, also=_end_task(connection, run, origin))


def _end_task(
    connection: apsw.Connection, run: ToolRun, origin: Origin
) -> "tuple[Effect[None], ...]":
    if run.task is None:
        return ()
    which = {"run_id": run.run_id, "status": run.status}
    outcome = _kept(run, {**which, "result": run.result}, which)
    return end_with_run(connection, run.task, run.status, run.error_code, outcome, origin)


def _kept(run: ToolRun, whole: dict[str, object], always: Mapping[str, object] = {}) -> bytes:
    """`whole` with the error as JSON, or only what is kept always where that is too long. Pure."""
    error = {"error_code": run.error_code, "error": run.error}
    kept = msgspec.json.encode({**whole, **error})
    if len(kept) > MAX_KEPT_BYTES:
        return msgspec.json.encode({**always, "omitted_bytes": len(kept), **error})
    return kept

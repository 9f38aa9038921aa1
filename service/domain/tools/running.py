"""Running a tool: in its process, between the record that it begins and the record how it ended."""

import logging
from functools import partial
from typing import Final

import apsw
import msgspec

from service.dependencies import ToolOutcomeUnknown, ToolsUnavailable
from service.domain.call import Call
from service.domain.tools.records import ToolRun, end_run, ended_with
from service.effects import system_cause
from service.errors import OutcomeUnknown, Unavailable

_LOG: Final = logging.getLogger("sonia.tools")


async def run_tool(call: Call, run: ToolRun) -> ToolRun:
    """Run what `begin_run` has durably recorded, record how it ended, and return that.

    Never raises for what the tool or its process does: unavailable is `failed` with code `tools_unavailable`, a lost
    answer is `needs_operator`. Raises OutcomeUnknown when it may have run and that cannot be recorded now: then the
    record follows as soon as it can, for an operator to look at.
    """
    try:
        outcome = await call.services.dependencies.tools.execute(
            run.tool, run.arguments_json, run.approval, request_id=call.request_id
        )
        ended = ended_with(run, outcome)
    except ToolsUnavailable as error:
        ended = msgspec.structs.replace(
            run, status="failed", error_code="tools_unavailable", error=error.reason
        )
    except ToolOutcomeUnknown as error:
        ended = _unknown(run, error.reason)
    except Exception:  # noqa: BLE001 - whatever it was, the tool may have run
        _LOG.exception("run %s failed", run.run_id)
        ended = _unknown(run, "the gateway failed")
    cause, origin = system_cause("tools", "tool.end", call.request_id, run.tool), call.origin()
    try:
        return await call.storage.change(
            cause, lambda connection: end_run(connection, ended, origin)
        )
    except (Unavailable, apsw.Error) as error:
        if ended.error_code == "tools_unavailable":
            call.storage.change_later(cause, partial(end_run, run=ended, origin=origin))
            return ended
        lost = _unknown(ended, f"it ended as {ended.status}, which could not be recorded: {error}")
        call.storage.change_later(cause, partial(end_run, run=lost, origin=origin))
        raise OutcomeUnknown(
            f"run {run.run_id} was interrupted: it may have run; look before asking again"
        ) from error


def _unknown(run: ToolRun, reason: str) -> ToolRun:
    return msgspec.structs.replace(
        run, status="needs_operator", error_code="tool_outcome_unknown", error=reason
    )

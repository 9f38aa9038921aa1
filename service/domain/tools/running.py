"""Running a tool: in its process, between the record that it begins and the record how it ended."""

import msgspec

from service.dependencies import ToolOutcomeUnknown, ToolsUnavailable
from service.domain.call import Call
from service.domain.tools.records import ToolRun, end_run, ended_with
from service.effects import system_cause


async def run_tool(call: Call, run: ToolRun) -> ToolRun:
    """Run what `begin_run` has durably recorded, record how it ended, and return that.

    Never raises for what the tool or its process does: unavailable is `failed` with code `tools_unavailable`, a lost
    answer is `needs_operator`.
    """
    try:
        outcome = await call.services.dependencies.tools.execute(
            run.tool, run.arguments_json, run.approval, request_id=call.request_id
        )
    except ToolsUnavailable as error:
        ended = msgspec.structs.replace(
            run, status="failed", error_code="tools_unavailable", error=error.reason
        )
    except ToolOutcomeUnknown as error:
        ended = msgspec.structs.replace(
            run, status="needs_operator", error_code="tool_outcome_unknown", error=error.reason
        )
    else:
        ended = ended_with(run, outcome)
    cause = system_cause("tools", "tool.end", call.request_id, run.tool)
    return await call.storage.change(
        cause, lambda connection: end_run(connection, ended, call.origin())
    )

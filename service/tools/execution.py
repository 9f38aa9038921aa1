"""Run one call: the safety gate once more, then the tool, then what became of it as data."""

import asyncio
import errno
import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from service.messages.tool_table import (
    TOOLS,
    BadArguments,
    FileRead,
    FileWrite,
    SafetyClass,
    ShellRun,
    ToolArguments,
    UnknownTool,
    arguments_sha256,
    decode_arguments,
)
from service.messages.tools import ExecuteTool, Outcome, ToolOutcome
from service.tools.files import EffectMissing, read_file, write_file
from service.tools.shell import ConfinementFailed, ShellEnd, run_shell
from service.tools.workspace import NotAFile, PathOutside, Workspace, WorkspaceFull

_CODES: Final[Mapping[type[Exception], str]] = {
    NotAFile: "not_a_file",
    WorkspaceFull: "workspace_full",
    ConfinementFailed: "confinement_failed",
    # A NUL, which the system takes in no path and in no command.
    ValueError: "unusable_text",
}
_HANDLED: Final[tuple[type[Exception], ...]] = (PathOutside, EffectMissing, OSError, *_CODES)


class NotApproved(Exception):
    """A guarded tool without an approval, or with one for other arguments."""


async def execute(
    name: str, call: ExecuteTool, workspace: Workspace, max_run_s: float
) -> ToolOutcome:
    """Run tool `name`, for at most `max_run_s` seconds whatever the call asks for.

    The gateway decides who may; this process still refuses a guarded call that names no approval, and any whose
    arguments are not, byte for byte, the ones that were hashed. Raises UnknownTool, BadArguments, NotApproved
    before anything ran; whatever happens later is an outcome.
    """
    arguments = _checked(name, call)
    try:
        return await _run(name, arguments, workspace, max_run_s)
    except _HANDLED as error:
        return outcome_of_error(name, error)


def _checked(name: str, call: ExecuteTool) -> ToolArguments:
    tool = TOOLS.get(name)
    if tool is None:
        raise UnknownTool(name)
    if not hmac.compare_digest(arguments_sha256(call.arguments_json), call.args_sha256):
        raise NotApproved("the arguments are not the ones that were hashed")
    if tool.safety is not SafetyClass.SAFE_READ and call.approval is None:
        raise NotApproved(f"{name} is {tool.safety} and needs an approval")
    return decode_arguments(name, call.arguments_json)


async def _run(
    name: str, arguments: ToolArguments, workspace: Workspace, max_run_s: float
) -> ToolOutcome:
    match arguments:
        case FileRead():
            result = await asyncio.to_thread(read_file, workspace, arguments)
            return ToolOutcome(name, Outcome.SUCCEEDED, result)
        case FileWrite():
            result = await asyncio.to_thread(write_file, workspace, arguments)
            return ToolOutcome(name, Outcome.SUCCEEDED, result)
        case ShellRun():
            timeout_s = min(arguments.timeout_s, max_run_s)
            ran = await run_shell(arguments.command, workspace, timeout_s)
            return _shell_outcome(name, ran, timeout_s)


def _shell_outcome(name: str, end: ShellEnd, timeout_s: float) -> ToolOutcome:
    ran = end.result
    result: dict[str, object] = msgspec.to_builtins(ran)
    if end.limit is not None:
        return ToolOutcome(
            name, Outcome.FAILED, result, f"{end.limit}_limit", f"ended: too much {end.limit}"
        )
    if ran.exit_status is None:
        return ToolOutcome(
            name, Outcome.TIMED_OUT, result, "timed_out", f"ended after {timeout_s} s"
        )
    if ran.exit_status != 0:
        why = "; the workspace is full: a command can read and remove there" if end.full else ""
        return ToolOutcome(
            name, Outcome.FAILED, result, "exit_status", f"exit status {ran.exit_status}{why}"
        )
    return ToolOutcome(name, Outcome.SUCCEEDED, result)


def outcome_of_error(name: str, error: Exception) -> ToolOutcome:
    """What a tool that raised `error` came to. Pure."""
    outcome, code, text = _of_error(error)
    return ToolOutcome(name, outcome, {}, code, text)


def _of_error(error: Exception) -> tuple[Outcome, str, str]:
    match error:
        case PathOutside():
            return Outcome.REFUSED, "path_outside_workspace", str(error)
        case EffectMissing():
            return Outcome.VERIFICATION_FAILED, "verification_failed", str(error)
        case OSError():
            return _of_os_error(error)
        case _:
            code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
            return Outcome.FAILED, code, str(error)


def _of_os_error(error: OSError) -> tuple[Outcome, str, str]:
    match error:
        case OSError(errno=errno.ELOOP | errno.ENOTDIR):
            return Outcome.REFUSED, "path_outside_workspace", "the path leads through a link"
        case FileNotFoundError():
            return Outcome.FAILED, "not_found", "no such file"
        case _:
            return Outcome.FAILED, "os_error", str(error.strerror)


__all__ = ["BadArguments", "NotApproved", "UnknownTool", "execute"]

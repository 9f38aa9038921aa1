"""The pinned table of tools: what exists, how dangerous it is, and what it takes. The only place that says so."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

import msgspec
import rfc8785

MAX_PATH_CHARS = 1024
MAX_CONTENT_CHARS = 1_048_576
MAX_READ_BYTES = 1_048_576
MAX_COMMAND_CHARS = 16_384
MAX_SHELL_S = 20.0


class SafetyClass(StrEnum):
    """How much a call can change: nothing, one thing that can be looked at, or anything in the workspace."""

    SAFE_READ = "safe_read"
    GUARDED_LOW = "guarded_low"
    GUARDED_HIGH = "guarded_high"


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of one tool; a misspelt one is an error, never a default."""


WorkspacePath = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATH_CHARS)]


class FileRead(_Arguments, frozen=True):
    """Read at most `max_bytes` of a file; `path` is relative to the workspace."""

    path: WorkspacePath
    max_bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_READ_BYTES)] = MAX_READ_BYTES


class FileWrite(_Arguments, frozen=True):
    """Replace a file's content, or add to its end; `path` is relative to the workspace."""

    path: WorkspacePath
    content: Annotated[str, msgspec.Meta(max_length=MAX_CONTENT_CHARS)]
    append: bool = False


class ShellRun(_Arguments, frozen=True):
    """Run `command` with /bin/sh in the workspace for at most `timeout_s` seconds."""

    command: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_COMMAND_CHARS)]
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=MAX_SHELL_S)] = 10.0


ToolArguments = FileRead | FileWrite | ShellRun


class Tool(msgspec.Struct, frozen=True):
    """One tool; `verification` says how its effect is checked after it ran."""

    name: str
    safety: SafetyClass
    description: str
    verification: str
    arguments: type[ToolArguments]


_ALL = (
    Tool(
        "file.read",
        SafetyClass.SAFE_READ,
        "Read a file of the workspace.",
        "none: nothing is changed",
        FileRead,
    ),
    Tool(
        "file.write",
        SafetyClass.GUARDED_LOW,
        "Write or extend a file of the workspace.",
        "the file is opened again by its path and its content compared",
        FileWrite,
    ),
    Tool(
        "shell.run",
        SafetyClass.GUARDED_HIGH,
        "Run a shell command in the workspace.",
        "the exit status is 0",
        ShellRun,
    ),
)

TOOLS: Final[Mapping[str, Tool]] = {tool.name: tool for tool in _ALL}


class UnknownTool(Exception):
    """No tool has this name."""


class BadArguments(Exception):
    """The arguments do not fit the tool; the text names the argument."""


def canonical_arguments(name: str, arguments: Mapping[str, object]) -> str:
    """The canonical JSON (RFC 8785) of a tool's arguments, defaults filled in: these very characters are what is
    hashed, shown, approved and run.

    Raises UnknownTool, BadArguments.
    """
    tool = TOOLS.get(name)
    if tool is None:
        raise UnknownTool(name)
    try:
        checked = msgspec.convert(arguments, tool.arguments)
        return rfc8785.dumps(msgspec.to_builtins(checked)).decode()
    except (msgspec.ValidationError, rfc8785.CanonicalizationError) as error:
        raise BadArguments(str(error)) from None


def decode_arguments(name: str, arguments_json: str) -> ToolArguments:
    """The arguments of a call, from the JSON that was approved. Raises UnknownTool, BadArguments."""
    tool = TOOLS.get(name)
    if tool is None:
        raise UnknownTool(name)
    try:
        return msgspec.json.decode(arguments_json.encode(), type=tool.arguments)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise BadArguments(str(error)) from None


def arguments_sha256(arguments_json: str) -> str:
    """The hash that an approval names, over the exact bytes of the canonical arguments; 64 hex digits."""
    return hashlib.sha256(arguments_json.encode()).hexdigest()

"""What goes over the wire between the gateway and the tools process."""

from enum import StrEnum
from typing import Annotated

import msgspec


class Outcome(StrEnum):
    """What a call came to. Only `SUCCEEDED` means that the effect is there and was checked."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    VERIFICATION_FAILED = "verification_failed"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"


class ExecuteTool(msgspec.Struct, frozen=True):
    """Run a tool with exactly these canonical arguments.

    `approval` names what allowed a guarded tool ("confirmation:<id>" or "policy:<name>").
    """

    arguments_json: Annotated[str, msgspec.Meta(max_length=4_194_304)]
    args_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    approval: (
        Annotated[str, msgspec.Meta(pattern=r"^(confirmation|policy):[A-Za-z0-9._-]{1,128}$")]
        | None
    ) = None


class ToolOutcome(msgspec.Struct, frozen=True):
    """What the tool came to; `error_code` and `error` are set unless it succeeded."""

    tool: str
    outcome: Outcome
    result: dict[str, object] = {}
    error_code: str | None = None
    error: str | None = None

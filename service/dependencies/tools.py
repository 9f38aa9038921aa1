"""The gateway's client of the tools process. A call goes out at most once."""

from typing import Final

import msgspec

from service.dependencies.breaker import BreakerState
from service.dependencies.dependency import CallNotSent, Dependency
from service.dependencies.errors import DependencyUnavailable, ToolOutcomeUnknown, ToolsUnavailable
from service.http.client import HttpRequest, labelled
from service.messages.tool_table import arguments_sha256
from service.messages.tools import ExecuteTool, ToolOutcome

# Answers by which the tools process says that it ran nothing: refused, unknown, bad, busy.
_NOTHING_RAN: Final = frozenset({400, 403, 404, 405, 413, 422, 429})


class ToolsClient:
    """Asks the tools process; every call is answered or given up within `within_s` seconds.

    `within_s` must be longer than the longest tool may run, or outcomes are lost that were only slow.
    """

    def __init__(self, dependency: Dependency, within_s: float) -> None:
        self._dependency = dependency
        self._within_s = within_s

    @property
    def breaker_state(self) -> BreakerState:
        """Whether a call would go out."""
        return self._dependency.breaker_state

    def retry_in_ms(self) -> int:
        """Milliseconds after which a refused call may be tried again."""
        return max(1, int(self._dependency.retry_in_s() * 1000))

    async def execute(
        self, name: str, arguments_json: str, approval: str | None, *, request_id: str
    ) -> ToolOutcome:
        """Run tool `name` with exactly these canonical arguments.

        `approval`: what allows it ("confirmation:<id>" or "policy:<name>"), None for a safe tool. Raises
        ToolsUnavailable when it certainly did not run, ToolOutcomeUnknown when it may have.
        """
        call = ExecuteTool(arguments_json, arguments_sha256(arguments_json), approval)
        request = HttpRequest(
            "POST",
            f"/internal/tools/{name}/execute",
            self._within_s,
            msgspec.json.encode(call),
            labelled(request_id),
            repeatable=False,
        )
        try:
            answer = await self._dependency.call(request)
        except CallNotSent as error:
            raise ToolsUnavailable(error.reason) from error
        except DependencyUnavailable as error:
            raise ToolOutcomeUnknown(error.reason) from error
        if answer.status in _NOTHING_RAN:
            raise ToolsUnavailable(f"tools answered {answer.status}: nothing was run")
        try:
            return msgspec.json.decode(answer.body, type=ToolOutcome)
        except msgspec.DecodeError as error:
            raise ToolOutcomeUnknown(
                f"the tools process' answer cannot be used: {error}"
            ) from error

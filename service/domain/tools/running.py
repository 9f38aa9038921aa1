"""Running a tool: in its process, between the record that it begins and the record how it ended."""

import asyncio
import logging
from functools import partial
from typing import Final

import apsw
import msgspec

from service.clock import Clock
from service.dependencies import ToolOutcomeUnknown, ToolsClient, ToolsUnavailable
from service.dependencies.breaker import BreakerState, lets_through
from service.domain.tools.records import ToolRun, end_run, ended_with
from service.effects import Cause, Origin, system_cause
from service.errors import OutcomeUnknown, Unavailable
from service.messages.tools import ToolOutcome
from service.reliability.tracing import Trace
from service.storage import Storage

_LOG: Final = logging.getLogger("sonia.tools")


class Runner(msgspec.Struct, frozen=True):
    """Runs what `begin_run` has durably recorded, and records how it ended."""

    storage: Storage
    clock: Clock
    tools: ToolsClient

    async def run(self, run: ToolRun, asked_by: str, request_id: str, trace: Trace) -> ToolRun:
        """Run a tool, record how it ended, and return that: the stages `tool` and `commit`.

        Never raises for what the tool or its process does: unavailable is `failed` with code `tools_unavailable`, a
        lost answer is `needs_operator`. Raises OutcomeUnknown when it may have run and that cannot be recorded now: then
        the record follows as soon as it can, for an operator to look at.
        """
        component = "tools" if run.task is None else "tasks"
        cause = system_cause(component, "tool.end", request_id, run.tool)
        try:
            with trace.stage("tool") as stage:
                ended = await self._execute(run, request_id, trace)
                stage.decide(ended.status, ended.error_code or "")
        except asyncio.CancelledError:
            unknown = _unknown(run, "the gateway ended")
            trace.act(lambda: self._end_later(cause, unknown, asked_by))
            raise
        with trace.stage("commit") as stage:
            await self._commit(cause, ended, asked_by, trace)
            stage.decide("committed")
            return ended

    async def _commit(self, cause: Cause, ended: ToolRun, asked_by: str, trace: Trace) -> None:
        async def change() -> None:
            origin = self._origin(cause, asked_by)
            await self.storage.change(cause, partial(end_run, run=ended, origin=origin))

        try:
            await trace.ask("commit", change, None, (apsw.Error,))
        except (Unavailable, apsw.Error) as error:
            if ended.error_code == "tools_unavailable":
                trace.act(lambda: self._end_later(cause, ended, asked_by))
                return
            why = f"it ended as {ended.status}, which could not be recorded: {error}"
            trace.act(lambda: self._end_later(cause, _unknown(ended, why), asked_by))
            raise OutcomeUnknown(
                f"run {ended.run_id} was interrupted: it may have run; look before asking again"
            ) from error

    async def _execute(self, run: ToolRun, request_id: str, trace: Trace) -> ToolRun:
        try:
            breaker = trace.take("breaker", lambda: self.tools.breaker_state, BreakerState)
            if not lets_through(breaker):
                raise ToolsUnavailable("tools is down")
            outcome = await trace.ask(
                "tool",
                lambda: self.tools.execute(
                    run.tool, run.arguments_json, run.approval, request_id=request_id
                ),
                ToolOutcome,
                (ToolsUnavailable, ToolOutcomeUnknown),
            )
            return ended_with(run, outcome)
        except ToolsUnavailable as error:
            return msgspec.structs.replace(
                run, status="failed", error_code="tools_unavailable", error=error.reason
            )
        except ToolOutcomeUnknown as error:
            return _unknown(run, error.reason)
        except Exception:  # noqa: BLE001 - whatever it was, the tool may have run
            _LOG.exception("run %s failed", run.run_id)
            return _unknown(run, "the gateway failed")

    def _end_later(self, cause: Cause, ended: ToolRun, asked_by: str) -> None:
        origin = self._origin(cause, asked_by)
        self.storage.change_later(cause, partial(end_run, run=ended, origin=origin))

    def _origin(self, cause: Cause, asked_by: str) -> Origin:
        return Origin(asked_by, cause.request_id, self.clock.now_ms())


def _unknown(run: ToolRun, reason: str) -> ToolRun:
    return msgspec.structs.replace(
        run, status="needs_operator", error_code="tool_outcome_unknown", error=reason
    )

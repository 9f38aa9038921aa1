"""The worker: claims tasks as they fall due and runs them, a few at once, beside the requests.

It looks when it is woken, by a task that was made or has ended and by tools that are there again, and once a second for what
fell due by time alone; a look costs two reads of an index. Approvals and calls of tools do not pass through here, so they wait
for no task.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import msgspec

from service.clock import Clock
from service.dependencies.dependency import Dependency
from service.domain.confirmations import records as confirmations
from service.domain.tasks import claims
from service.domain.tasks.claims import Due, Ids, Plan
from service.domain.tasks.records import State
from service.domain.tools.records import ToolRun
from service.domain.tools.running import Runner
from service.effects import Cause, Origin, system_cause
from service.errors import Conflict, ProblemError, Unavailable
from service.ids import NewId
from service.reliability.tracing import Answer, Run, Trace, Traces, answer_of
from service.settings import Settings
from service.storage import Storage
from service.timers import Timer

T = TypeVar("T")
LOOK_EVERY_S: Final = 1.0
STOP_WITHIN_S: Final = 5.0
EXPIRED_AT_ONCE: Final = 64
NOT_BEGUN: Final = "not_begun"
_LOG: Final = logging.getLogger("sonia.tasks")


class Start(msgspec.Struct, frozen=True):
    """The two steps that begin a task, each decided by what its own transaction finds; a replay needs the task and the settings."""

    task: Due
    settings: Settings
    storage: Storage
    clock: Clock
    new_id: NewId

    async def begin(self, trace: Trace) -> ToolRun | None:
        """Claim a task and take the step after that; return its run, if it is begun. Raises Conflict."""
        limit = self.settings.tasks.max_claims
        step = claims.claiming(self.task, limit, self.clock.now_ms)
        claim = await trace.transact(self._change("task.claim"), *step)
        if claim.claimed is None:
            trace.decide(NOT_BEGUN, claims.TOO_OFTEN)
            return None
        plan = await self._plan(claim.claimed, trace)
        if plan.run is None:
            trace.decide(NOT_BEGUN, plan.reason)
        return plan.run

    async def _plan(self, claimed: State, trace: Trace) -> Plan:
        """Take the step after the claim; when it fails, whatever it was, nothing was begun and the claim is given back."""
        ttl_ms = round(self.settings.confirmations.ttl_s * 1000)
        ids = trace.take("ids", lambda: Ids(self.new_id("run"), self.new_id("conf"), ttl_ms), Ids)
        step = claims.beginning(self.task, claimed, ids, self.clock.now_ms)
        try:
            return await trace.transact(self._change("task.begin"), *step)
        except Conflict:
            raise
        except Exception as error:
            counted = not isinstance(error, Unavailable)
            trace.act(lambda: self._give_back(claimed, counted))
            raise

    def _give_back(self, claimed: State, counted: bool) -> None:
        origin = self.task.origin(self.clock.now_ms())
        self.storage.change_later(
            self._cause("task.give_back"),
            partial(
                claims.give_back, task=self.task, claimed=claimed, counted=counted, origin=origin
            ),
        )

    def _change(self, action: str) -> Callable[[Run[T]], Awaitable[T]]:
        return lambda run: self.storage.change(self._cause(action), run)

    def _cause(self, action: str) -> Cause:
        return system_cause("tasks", action, self.task.request_id, self.task.id)


async def work(trace: Trace, start: Start, runner: Runner) -> None:
    """Run a task, if it is begun: the stages `policy`, `tool` and `commit`. Raises Conflict; the same for its replay."""
    task = start.task
    try:
        with trace.stage("policy") as stage:
            run = await trace.computed("begun", lambda: start.begin(trace), ToolRun | None)
            if run is not None:
                stage.decide("allow")
            elif not stage.decision:
                stage.decide(NOT_BEGUN)
        if run is not None:
            run = await runner.run(run, task.created_by, task.request_id, trace)
    except (ProblemError, asyncio.CancelledError) as error:
        trace.answered(answer_of(error))
        raise
    trace.answered(answer_of_run(run))


def answer_of_run(run: ToolRun | None) -> Answer:
    """What a task came to, as a trace has it. Pure."""
    if run is None or run.status == "succeeded":
        return Answer(200)
    return Answer(500, run.error_code or run.status)


class Worker:
    """Runs tasks while `tools` is up and it is not `paused`. `timer` is what makes it look; whoever starts timers starts and watches it."""

    def __init__(
        self,
        runner: Runner,
        tools: Dependency,
        settings: Settings,
        new_id: NewId,
        paused: Callable[[], bool],
        traces: Traces,
    ) -> None:
        self._runner = runner
        self._storage = runner.storage
        self._clock = runner.clock
        self._tools = tools
        self._settings = settings
        self._new_id = new_id
        self._paused = paused
        self._traces = traces
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self.timer = Timer("tasks", LOOK_EVERY_S, self.look)
        tools.on_up = self.wake

    def wake(self) -> None:
        """Look soon whether a task can be run; costs nothing."""
        self.timer.wake()

    async def stop(self) -> None:
        """Claim nothing more, and let what runs end; what takes too long is recorded as unknown by its end."""
        self._stopping = True
        jobs = list(self._jobs.values())
        if jobs:
            await asyncio.wait(jobs, timeout=STOP_WITHIN_S)
            for each in jobs:
                each.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def look(self) -> None:
        """Expire what waited for a decision for too long, and start what is due, as far as there is room."""
        await self._expire()
        if self._stopping or self._paused() or not self._tools.up:
            return
        now_ms, most = self._clock.now_ms(), self._settings.tasks.at_once
        for task in self._storage.read(lambda connection: claims.due(connection, now_ms, most)):
            if task.id not in self._jobs and len(self._jobs) < most:
                job = asyncio.create_task(self._work(task), name=f"task {task.id}")
                self._jobs[task.id] = job
                job.add_done_callback(partial(self._ended, task.id))

    def _ended(self, task_id: str, job: "asyncio.Task[None]") -> None:
        del self._jobs[task_id]
        if job.cancelled() or (error := job.exception()) is None:
            self.wake()
            return
        # Tried again with the timer's next round: at once it would be for ever.
        self.timer.errors += 1
        if isinstance(error, ProblemError):
            _LOG.warning("task %s: %s", task_id, error)
        else:
            _LOG.error("task %s: the worker failed", task_id, exc_info=error)

    async def _work(self, task: Due) -> None:
        trace = self._traces.begin(self._new_id("work"), "task", route="/tasks")
        trace.actor_id = task.created_by
        trace.envelope["task"] = task
        start = Start(task, self._settings, self._storage, self._clock, self._new_id)
        try:
            await work(trace, start, self._runner)
        except Conflict as over:
            _LOG.info("%s", over)
        finally:
            self._traces.finish(trace)

    async def _expire(self) -> None:
        now_ms = self._clock.now_ms()
        found = self._storage.read(
            lambda connection: confirmations.overdue(connection, now_ms, EXPIRED_AT_ONCE)
        )
        if not found:
            return
        origin = Origin(confirmations.SYSTEM, self._new_id("look"), now_ms)
        changes = [
            self._storage.change(
                confirmations.expire_cause(origin.request_id, each),
                partial(confirmations.expire, confirmation_id=each, origin=origin),
            )
            for each in found
        ]
        for outcome in await asyncio.gather(*changes, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, Conflict):
                raise outcome

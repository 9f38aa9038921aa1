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

import apsw
import msgspec

from service.dependencies.dependency import Dependency
from service.domain.confirmations import records as confirmations
from service.domain.tasks import claims
from service.domain.tasks.claims import Due, Ids
from service.domain.tasks.records import State
from service.domain.tools.records import ToolRun
from service.domain.tools.running import Runner
from service.effects import Cause, Effect, Origin, system_cause
from service.errors import Conflict, ProblemError, Unavailable
from service.ids import NewId
from service.reliability.tracing import Answer, Trace, Traces, answer_of
from service.settings import Settings
from service.timers import Timer

T = TypeVar("T")
LOOK_EVERY_S: Final = 1.0
STOP_WITHIN_S: Final = 5.0
EXPIRED_AT_ONCE: Final = 64
_LOG: Final = logging.getLogger("sonia.tasks")


class Work(msgspec.Struct, frozen=True):
    """A task that is due, as its trace has it."""

    task_id: str
    kind: str
    created_by: str
    request_id: str


async def work(
    trace: Trace, task: Work, start: Callable[[], Awaitable[ToolRun | None]], runner: Runner
) -> None:
    """Run a task, if it is begun: the stages `policy`, `tool` and `commit`. Raises Conflict; the same for its replay."""
    try:
        with trace.stage("policy") as stage:
            run = await trace.ask("begun", start, ToolRun | None)
            stage.decide("not_begun" if run is None else "allow")
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
        due = Work(task.id, task.kind, task.created_by, task.request_id)
        trace.envelope["task"] = due
        try:
            await work(trace, due, lambda: self._start(task), self._runner)
        except Conflict as over:
            _LOG.info("%s", over)
        finally:
            self._traces.finish(trace)

    async def _start(self, task: Due) -> ToolRun | None:
        """Claim a task and take the step after that; return its run, if it is begun. Raises Conflict."""
        limit = self._settings.tasks.max_claims
        claimed = await self._change(task, "task.claim", partial(claims.claim, most_claims=limit))
        return None if claimed is None else await self._begin(task, claimed)

    async def _begin(self, task: Due, claimed: State) -> ToolRun | None:
        """Take the step after the claim; when it fails, whatever it was, nothing was begun and the claim is given back."""
        ids = Ids(
            self._new_id("run"),
            self._new_id("conf"),
            round(self._settings.confirmations.ttl_s * 1000),
        )
        try:
            return await self._change(
                task, "task.begin", partial(claims.begin, claimed=claimed, ids=ids)
            )
        except Conflict:
            raise
        except Exception as error:
            counted = not isinstance(error, Unavailable)
            step = partial(
                claims.give_back,
                task=task,
                claimed=claimed,
                counted=counted,
                origin=task.origin(self._clock.now_ms()),
            )
            self._storage.change_later(self._cause(task, "task.give_back"), step)
            raise

    async def _change(self, task: Due, action: str, step: "Callable[..., Effect[T]]") -> T:
        origin = task.origin(self._clock.now_ms())

        def run(connection: apsw.Connection) -> Effect[T]:
            return step(connection, task, origin=origin)

        return await self._storage.change(self._cause(task, action), run)

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

    def _cause(self, task: Due, action: str) -> Cause:
        return system_cause("tasks", action, task.request_id, task.id)

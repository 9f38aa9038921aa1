"""Decides about recorded requests again, by the very functions that served them, from what they were given then.

Nothing live can be reached from here: whatever is no recorded input leads nowhere, and no clock is read. What is computed of
a request is what its envelope tells of: who calls and whether the role is enough for all; for turns, calls of tools, approvals and
runs of tasks every stage, for other routes what was answered is an input.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import zip_longest
from typing import Any, cast

import msgspec

from service.auth.credentials import Actor, Presented
from service.auth.refusals import Refusal
from service.auth.roles import Role
from service.domain.call import Call, Services
from service.domain.confirmations.routes import ApproveRequest, decide
from service.domain.tasks.claims import Due
from service.domain.tasks.worker import Start, work
from service.domain.tools.routes import ToolRequest, execute
from service.domain.tools.running import Runner
from service.domain.turns.pipeline import TurnRequest, in_turn_of
from service.domain.turns.routes import answer_in_turn
from service.gateway.recheck import closing_code
from service.gateway.stream import answer_frame
from service.http.authentication import authenticate, of_kind
from service.http.denials import refuse_credentials
from service.http.guards import EVERYBODY, authorize
from service.http.idempotency import recall
from service.incidents.bundles import Bundle
from service.incidents.records import OMITTED, TraceLine
from service.reliability.ingress import Ingress
from service.reliability.replaying import Replayed
from service.reliability.tracing import (
    Answer,
    NotRecorded,
    answer_of,
    conclude,
    trace_class,
)
from service.reliability.verdicts import Queue
from service.settings import Settings


class Stage(msgspec.Struct, frozen=True):
    """What one stage decided."""

    stage: str
    decision: str
    reason: str


class Again(msgspec.Struct, frozen=True):
    """What was decided about one request, and which stages of it were taken as recorded."""

    stages: list[Stage]
    as_recorded: list[str]


class Divergence(msgspec.Struct, frozen=True):
    """A request whose replay decided otherwise: the first stage that did, None where there is none on that side."""

    request_id: str
    kind: str
    route: str
    n: int
    recorded: Stage | None
    replayed: Stage | None


class Replay(msgspec.Struct, frozen=True):
    """What a replay came to: `classes` counts the trace classes of the replayed. `omitted` were too long to be recorded,
    `as_recorded` says of how many requests an older bundle holds what a stage came to and not by what, and `changed` files of
    the bundle are not those that were exported.
    """

    incident_id: str
    requests: int
    same: int
    omitted: int
    as_recorded: dict[str, int]
    diverging: list[Divergence]
    classes: dict[str, int]
    changed: list[str]


def replay(bundle: Bundle) -> Replay:
    """Replay every request of a bundle. Raises msgspec.ValidationError for a configuration that is none."""
    settings = msgspec.convert(bundle.config, Settings)
    traces = [each for each in bundle.traces if OMITTED not in each.envelope]
    came = asyncio.run(_all(traces, settings))
    replayed = [each.stages for each in came]
    diverging = [
        found
        for trace, stages in zip(traces, replayed, strict=True)
        if (found := _divergence(trace, stages)) is not None
    ]
    return Replay(
        bundle.manifest.incident_id,
        len(bundle.traces),
        len(traces) - len(diverging),
        len(bundle.traces) - len(traces),
        dict(sorted(Counter(name for each in came for name in each.as_recorded).items())),
        diverging,
        dict(sorted(Counter(_class_of(each) for each in replayed).items())),
        bundle.changed,
    )


async def _all(traces: list[TraceLine], settings: Settings) -> list[Again]:
    return [await again(each, settings) for each in traces]


async def again(line: TraceLine, settings: Settings) -> Again:
    """Decide about one recorded request again."""
    recorded = [(each.name, each.inputs) for each in line.decisions]
    trace = Replayed(line.request_id, line.kind, recorded)
    trace.method, trace.route, trace.role = line.method, line.route, line.role
    trace.envelope = dict(line.envelope)
    one = _One(trace, settings)
    try:
        answer = await {"task": one.task, "frame": one.frame}.get(line.kind, one.request)()
        if answer is not None:
            trace.instead["answer"] = answer
        conclude(trace)
    except NotRecorded:
        # The stage that asked for it says so, and is the last.
        pass
    stages = [Stage(each.name, each.decision, each.reason) for each in trace.stages]
    return Again(stages, trace.as_recorded)


class _OlderTask(msgspec.Struct, frozen=True):
    """A task as traces had it that say only whether it was begun."""

    task_id: str
    kind: str
    created_by: str
    request_id: str


class _One:
    """One recorded request. Each kind returns what is answered, None where that is an input."""

    def __init__(self, trace: Replayed, settings: Settings) -> None:
        self._trace = trace
        self._services = cast("Services", _Services(settings))
        self._asked: dict[str, object] = dict(trace.envelope)

    async def request(self) -> Answer | None:
        if "credentials" not in self._asked:
            return None
        nowhere = _Nowhere()
        kind = str(self._asked["credentials"])
        verdict = authenticate(self._trace, of_kind(kind), nowhere, nowhere)
        if isinstance(verdict, Refusal):
            return refuse_credentials(verdict).answer
        required = self._asked.get("requires")
        if required in {EVERYBODY, None}:
            return None
        return await _answered(lambda: self._admitted(verdict, Role(str(required))))

    async def _admitted(self, actor: Actor, required: Role) -> Answer | None:
        if "idempotency" in self._asked and not await recall(
            self._trace, str(self._asked["idempotency"]), _Nowhere()
        ):
            return None
        authorize(self._trace, actor, required)
        return await self._handled(self._call(actor))

    async def _handled(self, call: Call) -> Answer | None:
        if "turn" in self._asked:
            await answer_in_turn(call, self._read("turn", TurnRequest))
        elif "tool" in self._asked:
            response = await execute(call, self._read("tool", ToolRequest))
            return Answer(response.status_code or 200)
        elif "approve" in self._asked:
            await decide(call, self._read("approve", ApproveRequest))
        else:
            return None
        return Answer(200)

    async def frame(self) -> Answer | None:
        shown = of_kind(str(self._asked.get("credentials")))
        presented = shown if isinstance(shown, Presented) else None
        if closing_code(self._services, presented, self._trace) is not None:
            return Answer(self._trace.status, self._trace.code)
        if "turn" not in self._asked:
            return None
        call = self._call(Actor(self._trace.actor_id, self._trace.role, ""))
        request = self._read("turn", TurnRequest)

        async def serve() -> Answer:
            async with in_turn_of(call, request, Queue.STREAM):
                await answer_frame(call, presented, request)
            return Answer(200)

        return await _answered(serve)

    async def task(self) -> Answer | None:
        services = self._services
        start = Start(
            self._due(), services.settings, services.storage, services.clock, services.new_id
        )

        async def run() -> None:
            await work(self._trace, start, services.runner)

        await _answered(run)
        return Answer(self._trace.status, self._trace.code)

    def _due(self) -> Due:
        """The task that was due. Older bundles tell less of it, and no decision that rests on the rest."""
        asked = self._asked.get("task")
        if not isinstance(asked, dict) or "task_id" not in asked:
            due: Due = self._read("task", Due)
            return due
        older: _OlderTask = self._read("task", _OlderTask)
        return Due(
            id=older.task_id,
            kind=older.kind,
            payload="",
            session_id=None,
            status="",
            created_by=older.created_by,
            request_id=older.request_id,
            attempts=0,
            claim_epoch=0,
        )

    def _read(self, name: str, form: type[Any]) -> Any:
        try:
            return msgspec.convert(self._asked[name], form)
        except (msgspec.ValidationError, KeyError) as wrong:
            raise NotRecorded(name) from wrong

    def _call(self, actor: Actor) -> Call:
        trace = self._trace
        return Call(actor, trace.request_id, trace.route, trace.method, self._services, trace)


async def _answered(serve: Callable[[], Awaitable[Answer | None]]) -> Answer | None:
    """What `serve()` answers, or what its error is answered with."""
    try:
        return await serve()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - as the live shell does
        return answer_of(error)


class Unreachable(Exception):
    """A replay came to where it would have touched the world."""


class _Nowhere:
    """Stands for everything live: it can be named, and not used."""

    def __getattr__(self, name: str) -> "_Nowhere":
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        raise Unreachable


class _Services:
    """The gateway's services, of which a replay has the settings, and what is built of them alone."""

    def __init__(self, settings: Settings) -> None:
        nowhere: Any = _Nowhere()
        self.settings = settings
        self.ingress = Ingress(settings.admission, lambda: 0.0)
        self.runner = Runner(nowhere, nowhere, nowhere)

    def __getattr__(self, name: str) -> _Nowhere:
        return _Nowhere()


def _divergence(trace: TraceLine, replayed: list[Stage]) -> Divergence | None:
    recorded = [Stage(each.name, each.decision, each.reason) for each in trace.decisions]
    if recorded == replayed and trace.trace_class == _class_of(replayed):
        return None
    n, left, right = next(_different(recorded, replayed), (len(recorded), None, None))
    return Divergence(trace.request_id, trace.kind, trace.route, n, left, right)


def _different(
    recorded: list[Stage], replayed: list[Stage]
) -> Iterator[tuple[int, Stage | None, Stage | None]]:
    for n, (left, right) in enumerate(zip_longest(recorded, replayed)):
        if left != right:
            yield n, left, right


def _class_of(stages: list[Stage]) -> str:
    return trace_class(tuple((each.stage, each.decision, each.reason) for each in stages))

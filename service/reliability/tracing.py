"""Decision traces: what was decided about a request, stage by stage, and from which inputs.

    trace = traces.begin(request_id, "http", method)      # an HTTP request; "frame" of a stream, "task" for a run of one
    with trace.stage("memory") as stage:                   # measured; says once what it decided
        found = await trace.ask("memory", search, list[Memory], (MemoryUnavailable,))
        stage.decide("answered")
    traces.finish(trace)                                   # the stage `outcome`, then every listener

Whatever a decision rests on and the code does not compute (the time, an id, a queue's depth, a row, another process's answer)
is an *input*: it comes through `take`, or `ask` where it is awaited. A live trace calls `produce` and keeps what came of it,
an error included; a `Replayed` one hands out what was recorded and never calls it. So what decides is one implementation,
and replay is the same functions over another trace. What is kept is encoded later: inputs are never changed afterwards.

A stage that is left by an error, and has not said what it decided, says `refused`, `unavailable`, `unknown`, `cancelled` or
`failed` by the kind of error, with its code as the reason. Decisions and reasons are words of fixed sets, without ids and times, so that the *trace class*,
the hash of their sequence, is the same wherever the same was decided.

`traces.on_finished(listener)` has `listener(trace)` called in the event loop with every finished trace; by then `trace.stages`
have `name`, `decision`, `reason`, `began_us` and `took_us`, and the trace `took_us`, `outcome`, `status`, `code`, `queue`.
"""

import asyncio
import functools
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

import apsw
import msgspec

from service.effects import Effect
from service.errors import OutcomeUnknown, ProblemError, Unavailable

T = TypeVar("T")
F = TypeVar("F")
R = TypeVar("R")
Run: TypeAlias = Callable[[apsw.Connection], Effect[R]]

STAGES: Final = (
    "authenticate",
    "idempotency",
    "authorize",
    "admit",
    "session",
    "memory",
    "model",
    "policy",
    "tool",
    "commit",
    "outcome",
)
"""In the order in which a request meets them, as far as it gets."""

TRACE: Final = "trace"
"""Where the state of a connection holds its trace."""

_LOG: Final = logging.getLogger("sonia.traces")
_ERRORS_FROM: Final = 400
_FAILURES_FROM: Final = 500


class Failed(msgspec.Struct, frozen=True, tag_field="failed", tag=True):
    """An input that was an error: the name of its class, and what it is made of."""

    error: str
    arguments: tuple[str | int | float | None, ...] = ()


class Input(msgspec.Struct, frozen=True):
    """What a stage was given from outside; `value` is what its kind has, or Failed."""

    kind: str
    value: object


class Answer(msgspec.Struct, frozen=True):
    """What was answered: a status of HTTP, 0 when nothing was, and the code of the problem, if it was one."""

    status: int
    code: str = ""


class Stage(msgspec.Struct):
    """One stage of one trace, in microseconds since the request began."""

    name: str = msgspec.field(name="stage")
    decision: str = ""
    reason: str = ""
    began_us: int = 0
    took_us: int = 0
    inputs: list[Input] = []

    def decide(self, decision: str, reason: str = "") -> None:
        """Say what was decided, and by which rule; both are words of fixed sets."""
        self.decision = decision
        self.reason = reason


class Trace:
    """What was decided about one request. It belongs to whoever serves the request."""

    __slots__ = (
        "_began_ns",
        "actor_id",
        "began_ms",
        "code",
        "envelope",
        "kind",
        "method",
        "queue",
        "request_id",
        "role",
        "route",
        "stages",
        "status",
        "took_us",
    )

    def __init__(
        self, request_id: str, kind: str, method: str = "", route: str = "", began_ms: float = 0.0
    ) -> None:
        self.request_id = request_id
        self.kind = kind
        self.method = method
        self.route = route
        self.actor_id = ""
        self.role = ""
        self.queue: str | None = None
        self.envelope: dict[str, object] = {}
        self.status = 0
        self.code = ""
        self.stages: list[Stage] = []
        self.began_ms = began_ms
        self.took_us = 0
        self._began_ns = time.perf_counter_ns()

    def elapsed_us(self) -> int:
        """Microseconds since the request began."""
        return (time.perf_counter_ns() - self._began_ns) // 1000

    def stage(self, name: str) -> Self:
        """The next stage: `with trace.stage("memory") as stage`. It begins at once, and none begins within it."""
        self.stages.append(Stage(name, "", "", self.elapsed_us()))
        return self

    def __enter__(self) -> Stage:
        return self.stages[-1]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stage = self.stages[-1]
        stage.took_us = self.elapsed_us() - stage.began_us
        if error is not None and not stage.decision:
            stage.decide(*decided_of(error))

    def again(self) -> Self:
        """Forget the last stage, which is decided anew."""
        self.stages.pop()
        return self

    def act(self, effect: Callable[[], object]) -> None:
        """Do something from which nothing comes that is decided upon; a replay does not do it."""
        effect()

    def answered(self, answer: Answer) -> None:
        """Note what is answered."""
        self.status, self.code = answer.status, answer.code

    def decide(self, decision: str, reason: str = "") -> None:
        """Say what the stage decided that was entered last."""
        self.stages[-1].decide(decision, reason)

    @property
    def outcome(self) -> str:
        """What came of the request, once it is over: completed, failed, unknown, shed or rejected."""
        return self.stages[-1].decision if self.stages else ""

    def take(
        self,
        kind: str,
        produce: Callable[[], T],
        form: object,  # noqa: ARG002 - what a replay reads it as
        errors: Sequence[type[Exception]] = (),  # noqa: ARG002
    ) -> T:
        """Return what `produce()` says, and keep it; `form` is its type, `errors` which it may raise beside problems."""
        try:
            value = produce()
        except BaseException as error:
            self._keep(kind, failed_with(error))
            raise
        self._keep(kind, value)
        return value

    async def ask(
        self,
        kind: str,
        produce: Callable[[], Awaitable[T]],
        form: object,  # noqa: ARG002 - what a replay reads it as
        errors: Sequence[type[Exception]] = (),  # noqa: ARG002
    ) -> T:
        """As `take`, of what has to be awaited."""
        try:
            value = await produce()
        except BaseException as error:
            self._keep(kind, failed_with(error))
            raise
        self._keep(kind, value)
        return value

    async def transact(
        self,
        change: Callable[[Run[R]], Awaitable[R]],
        look: Callable[[apsw.Connection], F],
        form: object,  # noqa: ARG002 - what a replay reads the facts as
        judge: Callable[[F], T],
        write: Callable[[apsw.Connection, T], Effect[R]],
    ) -> T:
        """Decide inside of a transaction, and return what was decided once it is durable.

        `look(connection)` reads the facts, `judge(facts)`, which is pure, decides or raises, `write(connection, decision)`
        carries it out. The inputs are `facts`, and what came of the commit.
        """
        facts: list[F] = []
        decided: list[T] = []

        def run(connection: apsw.Connection) -> Effect[R]:
            # More than once where the batch is tried again: the last time counts.
            decided.clear()
            facts[:] = [look(connection)]
            decided.append(judge(facts[0]))
            return write(connection, decided[0])

        try:
            await change(run)
        except BaseException as error:
            self._keep_all("facts", facts)
            if decided or not facts:
                self._keep("commit", failed_with(error))
            raise
        self._keep_all("facts", facts)
        self._keep("commit", None)
        return decided[0]

    async def computed(
        self,
        formerly: str,  # noqa: ARG002 - what a replay of an older bundle looks for
        decide: Callable[[], Awaitable[T]],
        form: object,  # noqa: ARG002 - and what it reads that as
        errors: Sequence[type[Exception]] = (),  # noqa: ARG002
    ) -> T:
        """Return what `decide()` comes to, by inputs of its own.

        Older bundles hold what it came to as one input, named `formerly`: a replay of these takes it as recorded, and says so.
        """
        return await decide()

    def _keep_all(self, kind: str, values: Sequence[object]) -> None:
        for each in values:
            self._keep(kind, each)

    def _keep(self, kind: str, value: object) -> None:
        self.stages[-1].inputs.append(Input(kind, value))


class NotRecorded(BaseException):
    """A replay asked for an input that is not in the record, or is no such thing; nothing may handle it."""


def trace_of(scope: Mapping[str, Any]) -> Trace:
    """The trace of a connection's request; one that nobody looks at where there is none."""
    trace = scope.get("state", {}).get(TRACE)
    return trace if isinstance(trace, Trace) else Trace("", "http")


def failed_with(error: BaseException) -> Failed:
    """An error as an input. Pure."""
    if isinstance(error, ProblemError):
        return Failed(type(error).__name__, (error.detail, error.code, error.retry_after_ms))
    kept = all(each is None or isinstance(each, str | int | float) for each in error.args)
    return Failed(type(error).__name__, tuple(error.args) if kept else ())


def decided_of(error: BaseException) -> tuple[str, str]:
    """What a stage has decided that was left by `error`. Pure."""
    if isinstance(error, ProblemError):
        if isinstance(error, OutcomeUnknown):
            return "unknown", error.code
        return "unavailable" if isinstance(error, Unavailable) else "refused", error.code
    if isinstance(error, NotRecorded):
        return "not_recorded", str(error)
    return ("cancelled", "") if isinstance(error, asyncio.CancelledError) else ("failed", "defect")


def answer_of(error: BaseException | None, status: int = 200) -> Answer:
    """What is answered where something ended with `error`, or well, with `status`. Pure."""
    if error is None:
        return Answer(status)
    if isinstance(error, ProblemError):
        return Answer(error.status, error.code)
    if isinstance(error, asyncio.CancelledError):
        return Answer(0)
    return Answer(_FAILURES_FROM, OutcomeUnknown.default_code)


_SHED: Final = {"shed": "", "expired": "expired"}
_REJECTED: Final = frozenset({"overloaded"})
_UNKNOWN: Final = frozenset({"outcome_unknown", "tool_outcome_unknown"})


def outcome_of(answer: Answer) -> tuple[str, str]:
    """What came of a request that was answered so: the decision of its last stage. Pure."""
    if answer.code in _SHED:
        return "shed", _SHED[answer.code]
    if answer.code in _UNKNOWN or not answer.status:
        return "unknown", answer.code
    if answer.status < _ERRORS_FROM:
        return "completed", ""
    rejected = answer.status < _FAILURES_FROM or answer.code in _REJECTED
    return "rejected" if rejected else "failed", answer.code


def conclude(trace: Trace) -> None:
    """The last stage, `outcome`, of whatever was answered."""
    with trace.stage("outcome") as stage:
        answer = trace.take("answer", lambda: Answer(trace.status, trace.code), Answer)
        stage.decide(*outcome_of(answer))


@functools.lru_cache(1024)
def trace_class(stages: tuple[tuple[str, str, str], ...]) -> str:
    """The hash (SHA-256) of what was decided: stage, decision and reason in order, as JSON without spaces. Pure."""
    return hashlib.sha256(msgspec.json.encode(stages)).hexdigest()


class Event(msgspec.Struct, frozen=True):
    """Something that happened beside the requests: `event` is slo, breaker, queue or process, `name` which of them."""

    at_ms: float
    event: str
    name: str
    detail: Mapping[str, object]


class Traces:
    """Where traces begin and end, and who is told of it. `wall` gives seconds since the epoch."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._on_finished: list[Callable[[Trace], None]] = []
        self._on_event: list[Callable[[Event], None]] = []

    def on_finished(self, listener: Callable[[Trace], None]) -> None:
        """Have `listener` called with every finished trace; it must not wait."""
        self._on_finished.append(listener)

    def on_event(self, listener: Callable[[Event], None]) -> None:
        """Have `listener` called with every event; it must not wait."""
        self._on_event.append(listener)

    def begin(self, request_id: str, kind: str, method: str = "", route: str = "") -> Trace:
        """The trace of a request that begins now."""
        return Trace(request_id, kind, method, route, self._wall() * 1000)

    def finish(self, trace: Trace) -> None:
        """End a trace, once, and tell everybody who listens."""
        if trace.took_us:
            return
        conclude(trace)
        trace.took_us = max(1, trace.elapsed_us())
        _tell(self._on_finished, trace)

    def event(self, event: str, name: str, detail: Mapping[str, object]) -> None:
        """Note what happened beside the requests, now."""
        _tell(self._on_event, Event(self._wall() * 1000, event, name, detail))


def _tell(listeners: Sequence[Callable[[T], None]], what: T) -> None:
    for each in listeners:
        try:
            each(what)
        except Exception:  # noqa: BLE001 - the request is over, whatever they do
            _LOG.exception("a listener failed")

"""The way in for work that may have to wait: admission under an event loop.

    async with ingress.admitted(Queue.MODEL, cost_of(text), trace):
        ...                                                    # in flight; what is raised decides what is counted

Whoever is not admitted is told by an error that says so: certainly nothing was done for it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Final

import msgspec

from service.errors import OutcomeUnknown, ProblemError, Unavailable
from service.reliability.admission import (
    Admission,
    Outcome,
    QueueLimits,
    Snapshot,
    Stage,
    Ticket,
)
from service.reliability.tracing import NotRecorded, Trace, Traces
from service.reliability.verdicts import (
    ADMITTED,
    EXPIRED,
    QUEUED,
    REJECTED,
    SHED,
    Queue,
    Wait,
    verdict_of,
)
from service.settings import AdmissionSettings
from service.timers import Timer

UNIT_CHARS: Final = 4096
LOOK_EVERY_S: Final = 1.0
_REFUSED: Final = {
    REJECTED: ("overloaded", "too much waits already; nothing was done"),
    SHED: ("shed", "it gave way to what came later; nothing was done"),
    EXPIRED: ("expired", "its turn did not come in time; nothing was done"),
}

Entry = Ticket[asyncio.Event]


class Admitted(msgspec.Struct, frozen=True):
    """What came of a wait: `verdict` is admitted, shed, expired or rejected."""

    verdict: str


def cost_of(text: str) -> int:
    """What a text costs that waits: one, and one more for each 4,096 characters. Pure."""
    return 1 + len(text) // UNIT_CHARS


def outcome_of(error: BaseException | None) -> Outcome:
    """What work that ended with `error` came to. Pure."""
    if error is None:
        return Outcome.COMPLETED
    certain = isinstance(error, ProblemError) and not isinstance(error, OutcomeUnknown)
    return Outcome.FAILED if certain else Outcome.UNKNOWN


def open_admission(settings: AdmissionSettings) -> Admission[asyncio.Event]:
    """The queues as `settings` want them."""
    each = {Queue.STREAM: settings.stream, Queue.TOOL: settings.tool, Queue.MODEL: settings.model}
    limits = {queue: QueueLimits(its.floor, its.at_once) for queue, its in each.items()}
    return Admission(settings.budget, limits)


class Ingress:
    """Admission, and who waits for it. `timer` drops what is too late while nothing else moves."""

    def __init__(
        self, settings: AdmissionSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._admission = open_admission(settings)
        self._wait_s = settings.wait_s
        self._clock = clock
        self.timer = Timer("admission", LOOK_EVERY_S, self.look)

    @contextlib.asynccontextmanager
    async def admitted(
        self, queue: Queue, cost: int, trace: Trace, lane: Hashable | None = None
    ) -> AsyncIterator[None]:
        """Wait for a turn, and have what is inside in flight; the next of its lane has to wait for `release`.

        Raises Unavailable where no turn comes: nothing was done.
        """
        tickets: list[Entry] = []
        trace.queue = queue.value
        with trace.stage("admit") as stage:

            async def wait() -> Admitted:
                found = await trace.ask(
                    "wait", lambda: self._wait(queue, cost, lane, tickets), Wait
                )
                return Admitted(verdict_of(found))

            came = await trace.computed("admission", wait, Admitted)
            stage.decide(came.verdict)
            if came.verdict == QUEUED:
                # Only in a replay by other rules: what would have come of it is not recorded.
                raise NotRecorded("turn")
            if came.verdict != ADMITTED:
                code, detail = _REFUSED[came.verdict]
                raise Unavailable(detail, code)
        try:
            yield
        except BaseException as error:
            self._finish(tickets, outcome_of(error))
            raise
        self._finish(tickets, Outcome.COMPLETED)

    def release(self, lane: Hashable) -> None:
        """Let the next of a lane have its turn."""
        self._admission.release(lane)
        self._advance()

    def snapshot(self) -> Snapshot:
        """All queues at one instant."""
        return self._admission.snapshot()

    async def look(self) -> None:
        """Drop what is too late."""
        self._advance()

    async def _wait(
        self, queue: Queue, cost: int, lane: Hashable | None, tickets: list[Entry]
    ) -> Wait:
        """Submit, and return once it is in flight, or over: with all that decided about it."""
        # First what is too late, so that nothing gives way for its sake.
        self._advance()
        told = asyncio.Event()
        ticket, victims = self._admission.submit(
            queue, cost, self._clock() + self._wait_s, told, lane
        )
        for victim in victims:
            victim.waiter.set()
        tickets.append(ticket)
        try:
            if ticket.stage is Stage.QUEUED:
                await told.wait()
        except asyncio.CancelledError:
            if not self._admission.withdraw(ticket):
                # Its turn came right before.
                self._finish(tickets, Outcome.FAILED)
            raise
        return ticket.wait

    def _finish(self, tickets: list[Entry], outcome: Outcome) -> None:
        """End what is in flight, if it is; in a replay nothing is."""
        for ticket in tickets:
            if ticket.stage is Stage.IN_FLIGHT:
                self._admission.finish(ticket, outcome)
        self._advance()

    def _advance(self) -> None:
        moves = self._admission.advance(self._clock())
        for ticket in (*moves.dropped, *moves.begun):
            ticket.waiter.set()


async def tell_of_queues(ingress: Ingress, traces: Traces) -> None:
    """What waits where at this instant, for whoever looks into an incident; of a queue in which nothing does, nothing."""
    for name, counts in ingress.snapshot().queues.items():
        if counts.queued:
            traces.event("queue", name, {"depth": counts.queued, "in_flight": counts.in_flight})

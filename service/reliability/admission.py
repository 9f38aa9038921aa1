"""Admission: what waits to be served, within one budget, and who gives way when there is too much of it.

Synchronous, and decided by the rules of `verdicts.py`: the caller brings the time and tells the waiters. All that waits costs something, and all queues share one
budget of cost; none has a share of its own but its `floor`, which the others cannot take. When the budget is spent, the
smallest enqueue sequence among the queues above their floor gives way: the oldest first, as whoever waits for it has most likely
given up. What comes too late is dropped when its turn comes. What was begun is never shed, and nothing in here was durably
acknowledged. At all times, in each queue and in all of them together,

    submitted = completed + failed + unknown + shed + rejected + queued + in_flight

where `shed` holds all that was queued and never begun: for want of room, `expired`, or `abandoned` by whoever asked.
"""

from collections import deque
from collections.abc import Hashable, Mapping
from enum import StrEnum
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

import msgspec

from service.reliability.verdicts import (
    EXPIRED,
    NOBODY,
    QUEUED,
    Entry,
    Queue,
    Room,
    Share,
    Turn,
    Wait,
    begins_at_once,
    gives_way,
    verdict_of_turn,
)

W = TypeVar("W")


class Stage(StrEnum):
    """Where a ticket stands."""

    QUEUED = "queued"
    IN_FLIGHT = "in_flight"
    OVER = "over"


class Outcome(StrEnum):
    """What came of a ticket. SHED, EXPIRED, ABANDONED and REJECTED were never begun; ABANDONED and EXPIRED count as shed, too."""

    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SHED = "shed"
    EXPIRED = "expired"
    ABANDONED = "abandoned"
    REJECTED = "rejected"


class QueueLimits(msgspec.Struct, frozen=True):
    """`floor`: cost that waits here and is never shed for another's sake; `at_once`: how much is in flight together."""

    floor: int
    at_once: int


class QueueCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One queue, or all of them. The first seven after `submitted` add up to it; `expired` and `abandoned` are parts of `shed`."""

    submitted: int = 0
    completed: int = 0
    failed: int = 0
    unknown: int = 0
    shed: int = 0
    rejected: int = 0
    queued: int = 0
    in_flight: int = 0
    expired: int = 0
    abandoned: int = 0
    cost: int = 0


class Ticket(Generic[W]):
    """One piece of work. `sequence` is its place in the order of all that was ever submitted, over all queues.

    Of one `lane` a single ticket is under way at once, and they are begun in their order; None stands alone.
    `wait` is all that decides about it.
    """

    __slots__ = (
        "cost",
        "deadline_s",
        "lane",
        "outcome",
        "queue",
        "sequence",
        "stage",
        "wait",
        "waiter",
    )

    def __init__(
        self,
        sequence: int,
        queue: Queue,
        cost: int,
        deadline_s: float,
        lane: Hashable | None,
        waiter: W,
        entry: Entry,
    ) -> None:
        self.sequence = sequence
        self.queue = queue
        self.cost = cost
        self.deadline_s = deadline_s
        self.lane = lane
        self.waiter = waiter
        self.wait = Wait(sequence, cost, entry)
        self.stage = Stage.QUEUED
        self.outcome: Outcome | None = None


class Moves(msgspec.Struct, Generic[W], frozen=True):
    """Whose turn it is, and what is over without having been begun; the waiters of both are to be told, in this order."""

    dropped: list[Ticket[W]]
    begun: list[Ticket[W]]


class Snapshot(msgspec.Struct, frozen=True):
    """All queues at one instant, and what they come to together."""

    budget: int
    total: QueueCounts
    queues: dict[str, QueueCounts]


class _Lane(Generic[W]):
    """What waits in a lane, the oldest first; `busy` from the begin of one until it is released."""

    __slots__ = ("_waiting", "busy")

    def __init__(self) -> None:
        self.busy = False
        self._waiting: deque[Ticket[W]] = deque()

    def append(self, ticket: Ticket[W]) -> None:
        """Let a ticket wait behind the others."""
        self._waiting.append(ticket)

    def head(self) -> Ticket[W] | None:
        """The next of those that still wait."""
        while self._waiting and self._waiting[0].stage is not Stage.QUEUED:
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None


class _Waiting(Generic[W]):
    """One queue: what waits, in the order of its sequences, and its counts."""

    def __init__(self, limits: QueueLimits) -> None:
        self.limits = limits
        self.queued: dict[int, Ticket[W]] = {}
        # Sequences of what may be begun, the head of each lane that is not busy; some of them may be over by now.
        self.ready: list[int] = []
        self.cost = 0
        self.in_flight = 0
        self.submitted = 0
        self.over: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

    def begin(self, ticket: Ticket[W]) -> None:
        """Have a ticket in flight."""
        self.in_flight += 1
        ticket.stage = Stage.IN_FLIGHT

    def end(self, ticket: Ticket[W], outcome: Outcome) -> None:
        """Have a ticket over, and counted."""
        self.over[outcome] += 1
        ticket.stage = Stage.OVER
        ticket.outcome = outcome

    def next(self) -> Ticket[W] | None:
        """What may be begun next."""
        while self.ready and self.ready[0] not in self.queued:
            heappop(self.ready)
        return self.queued[self.ready[0]] if self.ready else None

    def oldest(self) -> Ticket[W] | None:
        """What has waited longest."""
        return next(iter(self.queued.values()), None)

    def counts(self) -> QueueCounts:
        """All of its counts, now."""
        over = self.over
        return QueueCounts(
            submitted=self.submitted,
            completed=over[Outcome.COMPLETED],
            failed=over[Outcome.FAILED],
            unknown=over[Outcome.UNKNOWN],
            shed=over[Outcome.SHED] + over[Outcome.EXPIRED] + over[Outcome.ABANDONED],
            rejected=over[Outcome.REJECTED],
            queued=len(self.queued),
            in_flight=self.in_flight,
            expired=over[Outcome.EXPIRED],
            abandoned=over[Outcome.ABANDONED],
            cost=self.cost,
        )


class Admission(Generic[W]):
    """All queues, within `budget`. Costs are at least 1; times are seconds of one monotonic clock.

    Raises ValueError where the floors together exceed the budget.
    """

    def __init__(self, budget: int, limits: Mapping[Queue, QueueLimits]) -> None:
        if sum(each.floor for each in limits.values()) > budget:
            raise ValueError("the floors of the queues exceed the budget")
        self.budget: Final = budget
        self._queues: dict[Queue, _Waiting[W]] = {
            queue: _Waiting(each) for queue, each in limits.items()
        }
        self._lanes: dict[Hashable, _Lane[W]] = {}
        self._cost = 0
        self._sequence = 0

    def submit(
        self, queue: Queue, cost: int, deadline_s: float, waiter: W, lane: Hashable | None = None
    ) -> tuple[Ticket[W], list[Ticket[W]]]:
        """Take in a ticket; return it, and what was shed so that there is room for it.

        It is in flight at once where nothing keeps it waiting; else it is queued; or it is over, REJECTED, where it would
        be a victim itself: then nothing was shed for it.
        """
        self._sequence += 1
        at = self._queues[queue]
        at.submitted += 1
        waits = at.next() is not None or lane in self._lanes
        entry = Entry(at.in_flight, at.limits.at_once, waits)
        ticket = Ticket(self._sequence, queue, cost, deadline_s, lane, waiter, entry)
        if begins_at_once(entry):
            self._begin(ticket)
            return ticket, []
        victims = self._victims(queue, cost, ticket.wait.rooms)
        if victims is None:
            at.end(ticket, Outcome.REJECTED)
            return ticket, []
        for victim in victims:
            self._drop(victim, Outcome.SHED)
        self._enqueue(ticket)
        return ticket, victims

    def advance(self, now_s: float) -> Moves[W]:
        """Begin all whose turn it is; what is too late by then is dropped, and so is what was first in line too long."""
        moves: Moves[W] = Moves([], [])
        for at in self._queues.values():
            while (first := at.oldest()) is not None and _turn(at, first, now_s, True) == EXPIRED:
                moves.dropped.append(self._drop(first, Outcome.EXPIRED))
            while (ticket := at.next()) is not None:
                verdict = _turn(at, ticket, now_s, False)
                if verdict == QUEUED:
                    break
                if verdict == EXPIRED:
                    moves.dropped.append(self._drop(ticket, Outcome.EXPIRED))
                    continue
                self._unqueue(ticket)
                self._begin(ticket)
                moves.begun.append(ticket)
        return moves

    def finish(self, ticket: Ticket[W], outcome: Outcome) -> None:
        """End what is in flight: COMPLETED, FAILED or UNKNOWN. Its lane stays busy until it is released."""
        if ticket.stage is not Stage.IN_FLIGHT:
            raise ValueError(f"it is {ticket.stage.value}, and only what is in flight is finished")
        at = self._queues[ticket.queue]
        at.in_flight -= 1
        at.end(ticket, outcome)

    def release(self, lane: Hashable) -> None:
        """Let the next of a lane be begun: its last one is finished, and was told of."""
        mine = self._lanes.get(lane)
        if mine is not None:
            mine.busy = False
            self._line_up(lane, mine)

    def withdraw(self, ticket: Ticket[W]) -> bool:
        """Take back what nobody waits for any more; False where it was begun, or is over."""
        if ticket.stage is not Stage.QUEUED:
            return False
        self._drop(ticket, Outcome.ABANDONED)
        return True

    def snapshot(self) -> Snapshot:
        """Everything, at one instant."""
        counts = {queue.value: at.counts() for queue, at in self._queues.items()}
        total = {
            name: sum(getattr(each, name) for each in counts.values())
            for name in QueueCounts.__struct_fields__
        }
        return Snapshot(self.budget, QueueCounts(**total), counts)

    def _victims(self, queue: Queue, cost: int, rooms: list[Room]) -> list[Ticket[W]] | None:
        """Who has to give way so that `cost` has room in `queue`; None where that includes the newcomer.

        Changes nothing; what decides is kept in `rooms`, and with each victim.
        """
        excess = self._cost + cost - self.budget
        victims: list[Ticket[W]] = []
        left = {each: at.cost for each, at in self._queues.items()}
        left[queue] += cost
        oldest = {each: iter(at.queued.values()) for each, at in self._queues.items()}
        heads = {each: next(waiting, None) for each, waiting in oldest.items()}
        while True:
            shares = {
                each: Share(left[each], self._floor(each), None if head is None else head.sequence)
                for each, head in heads.items()
            }
            room = Room(excess, shares)
            rooms.append(room)
            sequence = gives_way(room)
            if sequence is None:
                return None
            if sequence == NOBODY:
                return victims
            victim = next(each for each in heads.values() if each and each.sequence == sequence)
            victim.wait.end = room
            victims.append(victim)
            excess -= victim.cost
            left[victim.queue] -= victim.cost
            heads[victim.queue] = next(oldest[victim.queue], None)

    def _floor(self, queue: Queue) -> int:
        return self._queues[queue].limits.floor

    def _enqueue(self, ticket: Ticket[W]) -> None:
        at = self._queues[ticket.queue]
        at.queued[ticket.sequence] = ticket
        at.cost += ticket.cost
        self._cost += ticket.cost
        if ticket.lane is None:
            heappush(at.ready, ticket.sequence)
            return
        mine = self._lanes.setdefault(ticket.lane, _Lane())
        first = mine.head() is None
        mine.append(ticket)
        if first and not mine.busy:
            heappush(at.ready, ticket.sequence)

    def _unqueue(self, ticket: Ticket[W]) -> None:
        at = self._queues[ticket.queue]
        del at.queued[ticket.sequence]
        at.cost -= ticket.cost
        self._cost -= ticket.cost

    def _begin(self, ticket: Ticket[W]) -> None:
        self._queues[ticket.queue].begin(ticket)
        if ticket.lane is not None:
            self._lanes.setdefault(ticket.lane, _Lane()).busy = True

    def _drop(self, ticket: Ticket[W], outcome: Outcome) -> Ticket[W]:
        """End what is queued, return its cost, and let the next of its lane take its place."""
        self._unqueue(ticket)
        self._queues[ticket.queue].end(ticket, outcome)
        mine = self._lanes.get(ticket.lane) if ticket.lane is not None else None
        if mine is not None and not mine.busy:
            self._line_up(ticket.lane, mine)
        return ticket

    def _line_up(self, lane: Hashable, mine: _Lane[W]) -> None:
        """Have the first of a lane that is not busy among what may be begun; an empty lane is forgotten."""
        head = mine.head()
        if head is None:
            del self._lanes[lane]
        else:
            heappush(self._queues[head.queue].ready, head.sequence)


def _turn(at: _Waiting[W], ticket: Ticket[W], now_s: float, oldest: bool) -> str:
    """Decide whether it is somebody's turn, and keep by what."""
    turn = Turn(ticket.deadline_s, now_s, oldest, at.in_flight, at.limits.at_once)
    ticket.wait.end = turn
    return verdict_of_turn(turn)

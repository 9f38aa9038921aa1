"""Admission: who waits, whose turn it is, who gives way, and that everything is counted once."""

from collections.abc import Hashable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from service.reliability import verdicts
from service.reliability.admission import (
    Admission,
    Moves,
    Outcome,
    QueueLimits,
    Stage,
    Ticket,
)
from service.reliability.verdicts import ADMITTED, QUEUED, Queue, Room, verdict_of

NEVER_S = 1e9


def admission(budget: int, floor: int = 0, at_once: int = 0) -> Admission[str]:
    """Queues of which, by default, none ever begins anything."""
    return Admission(budget, {each: QueueLimits(floor, at_once) for each in Queue})


def submit(
    queues: Admission[str],
    queue: Queue,
    cost: int = 1,
    deadline_s: float = NEVER_S,
    lane: Hashable | None = None,
) -> tuple[Ticket[str], list[int]]:
    ticket, victims = queues.submit(queue, cost, deadline_s, "", lane)
    return ticket, [each.sequence for each in victims]


def test_the_oldest_gives_way_whatever_queue_it_waits_in() -> None:
    queues = admission(3)
    for queue in (Queue.TOOL, Queue.STREAM, Queue.MODEL):
        submit(queues, queue)
    assert [submit(queues, Queue.MODEL)[1] for _ in range(3)] == [[1], [2], [3]]
    assert queues.snapshot().queues["model"].queued == 3


def test_what_is_within_its_floor_gives_way_to_nobody() -> None:
    queues = admission(6, floor=2)
    tools = [submit(queues, Queue.TOOL)[0] for _ in range(2)]
    shed = [each for _ in range(20) for each in submit(queues, Queue.STREAM)[1]]
    assert [each.stage for each in tools] == [Stage.QUEUED, Stage.QUEUED]
    assert shed == list(range(3, 19))


def test_above_its_floor_a_queue_gives_back_what_it_borrowed() -> None:
    queues = admission(6, floor=2)
    flood = [submit(queues, Queue.STREAM)[0] for _ in range(6)]
    assert [submit(queues, Queue.MODEL)[1] for _ in range(4)] == [[1], [2], [3], [4]]
    assert [each.outcome for each in flood] == [*4 * [Outcome.SHED], None, None]
    # Now it has its floor left: whoever comes has to make room among its own.
    assert submit(queues, Queue.MODEL)[1] == [7]


def test_whoever_would_be_its_own_victim_is_refused_and_nobody_else_is_shed() -> None:
    queues = admission(6, floor=2)
    submit(queues, Queue.TOOL, 2)
    submit(queues, Queue.STREAM, 2)
    submit(queues, Queue.MODEL, 2)
    ticket, victims = submit(queues, Queue.MODEL, 3)
    assert (ticket.outcome, victims) == (Outcome.REJECTED, [])
    assert queues.snapshot().total.queued == 3


def test_what_is_begun_at_once_takes_no_room_from_those_who_wait() -> None:
    queues = Admission[str](2, {each: QueueLimits(0, int(each is Queue.MODEL)) for each in Queue})
    submit(queues, Queue.TOOL, 2)
    ticket, victims = submit(queues, Queue.MODEL, 5)
    assert (ticket.stage, victims) == (Stage.IN_FLIGHT, [])


def test_what_is_in_flight_is_never_shed() -> None:
    queues = admission(1, at_once=1)
    begun = submit(queues, Queue.MODEL)[0]
    for _ in range(5):
        submit(queues, Queue.MODEL)
    assert begun.stage is Stage.IN_FLIGHT
    queues.finish(begun, Outcome.COMPLETED)
    assert [each.sequence for each in queues.advance(0).begun] == [6]


def test_what_is_too_late_is_dropped_when_its_turn_comes() -> None:
    queues = admission(9, at_once=1)
    first = submit(queues, Queue.MODEL)[0]
    for deadline_s in (NEVER_S, 1.0, NEVER_S):
        submit(queues, Queue.MODEL, deadline_s=deadline_s)
    queues.finish(first, Outcome.FAILED)
    second = queues.advance(2.0).begun[0]
    queues.finish(second, Outcome.UNKNOWN)
    moves = queues.advance(2.0)
    assert [each.sequence for each in moves.dropped] == [3]
    assert [each.sequence for each in moves.begun] == [4]
    total = queues.snapshot().total
    assert (total.shed, total.expired, total.failed, total.unknown) == (1, 1, 1, 1)


def test_what_is_first_in_line_and_too_late_is_dropped_without_a_turn() -> None:
    queues = admission(9)
    submit(queues, Queue.MODEL, deadline_s=1.0)
    submit(queues, Queue.MODEL, deadline_s=3.0)
    assert [each.sequence for each in queues.advance(1.0).dropped] == [1]


def test_of_a_lane_one_is_under_way_and_others_pass_it() -> None:
    queues = admission(9, at_once=2)
    first = submit(queues, Queue.STREAM, lane="a")[0]
    second = submit(queues, Queue.STREAM, lane="a")[0]
    other = submit(queues, Queue.STREAM, lane="b")[0]
    assert [each.stage for each in (first, second, other)] == [
        Stage.IN_FLIGHT,
        Stage.QUEUED,
        Stage.IN_FLIGHT,
    ]
    queues.finish(first, Outcome.COMPLETED)
    assert queues.advance(0).begun == []
    queues.release("a")
    assert queues.advance(0).begun == [second]


def test_floors_that_exceed_the_budget_are_refused() -> None:
    with pytest.raises(ValueError, match="floors"):
        admission(5, floor=2)


def test_only_what_is_in_flight_can_be_finished() -> None:
    queues = admission(9)
    with pytest.raises(ValueError, match="queued"):
        queues.finish(submit(queues, Queue.TOOL)[0], Outcome.COMPLETED)


def test_a_floor_that_is_compared_otherwise_is_another_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queues = admission(6, floor=2)
    for _ in range(2):
        submit(queues, Queue.TOOL)
    flood = [submit(queues, Queue.STREAM)[0] for _ in range(5)]
    for _ in range(2):
        submit(queues, Queue.MODEL)
    refused = submit(queues, Queue.MODEL, 3)[0]
    before = [verdict_of(each.wait) for each in (*flood, refused)]
    assert before == ["shed", "shed", "shed", "queued", "queued", "rejected"]

    def not_below(room: Room) -> int | None:
        above = [each for each in room.queues.values() if each.cost >= each.floor]
        return min((each.oldest for each in above if each.oldest is not None), default=None)

    monkeypatch.setattr(verdicts, "gives_way", not_below)
    assert [verdict_of(each.wait) for each in (*flood, refused)] == 6 * ["queued"]


def verdict_as_seen(ticket: Ticket[str]) -> str:
    if ticket.stage is Stage.QUEUED:
        return QUEUED
    never = {Outcome.SHED, Outcome.EXPIRED, Outcome.REJECTED}
    return ticket.outcome.value if ticket.outcome in never else ADMITTED


COSTS = st.integers(1, 7)
LANES = st.sampled_from([None, None, "a", "b"])


class Storm(RuleBasedStateMachine):
    """Everything that can happen to the queues, in any order; what must be true is said again, in other words, here."""

    in_flight = Bundle("in_flight")

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.tickets: list[Ticket[str]] = []
        self.owed: list[Hashable] = []

    @initialize(
        budget=st.integers(6, 12),
        floors=st.tuples(*3 * [st.integers(0, 2)]),
        at_once=st.tuples(*3 * [st.integers(0, 2)]),
    )
    def open(self, budget: int, floors: tuple[int, ...], at_once: tuple[int, ...]) -> None:
        self.limits = {
            queue: QueueLimits(floor, most)
            for queue, floor, most in zip(Queue, floors, at_once, strict=True)
        }
        self.queues: Admission[str] = Admission(budget, self.limits)

    def waiting(self, queue: Queue) -> list[Ticket[str]]:
        return [each for each in self.tickets if each.queue is queue and each.stage is Stage.QUEUED]

    def cost(self, queue: Queue) -> int:
        return sum(each.cost for each in self.waiting(queue))

    def moved(self, moves: Moves[str]) -> list[Ticket[str]]:
        assert all(each.deadline_s > self.now_s for each in moves.begun)
        assert all(each.outcome is Outcome.EXPIRED for each in moves.dropped)
        for begun in moves.begun:
            behind = [each for each in self.waiting(begun.queue) if each.lane == begun.lane]
            assert all(each.sequence > begun.sequence for each in behind)
        return moves.begun

    @rule(
        target=in_flight,
        queue=st.sampled_from(Queue),
        cost=COSTS,
        lane=LANES,
        patience_s=st.integers(1, 4),
    )
    def submit(self, queue: Queue, cost: int, lane: str | None, patience_s: int) -> object:
        lane = None if lane is None else f"{queue.value} {lane}"
        before = {each: [(it.sequence, it.cost) for it in self.waiting(each)] for each in Queue}
        ticket, victims = self.queues.submit(queue, cost, self.now_s + patience_s, "", lane)
        self.tickets.append(ticket)
        left = {each: sum(cost for _, cost in found) for each, found in before.items()}
        left[queue] += cost
        for victim in victims:
            # Each is the oldest of all that wait above their floors, and none was shed for nothing.
            above = [
                each for each in Queue if left[each] > self.limits[each].floor and before[each]
            ]
            assert victim.sequence == min(before[each][0][0] for each in above)
            assert sum(left.values()) > self.queues.budget
            before[victim.queue].pop(0)
            left[victim.queue] -= victim.cost
        if ticket.stage is Stage.QUEUED:
            assert sum(left.values()) <= self.queues.budget
        else:
            assert not victims
        return multiple(ticket) if ticket.stage is Stage.IN_FLIGHT else multiple()

    @rule(target=in_flight)
    def advance(self) -> object:
        return multiple(*self.moved(self.queues.advance(self.now_s)))

    @rule(
        ticket=consumes(in_flight),
        outcome=st.sampled_from([Outcome.COMPLETED, Outcome.FAILED, Outcome.UNKNOWN]),
    )
    def finish(self, ticket: Ticket[str], outcome: Outcome) -> None:
        self.queues.finish(ticket, outcome)
        if ticket.lane is not None:
            self.owed.append(ticket.lane)

    @rule()
    def release(self) -> None:
        if self.owed:
            self.queues.release(self.owed.pop())

    @rule(which=st.integers(0, 99))
    def withdraw(self, which: int) -> None:
        if self.tickets:
            ticket = self.tickets[which % len(self.tickets)]
            waited = ticket.stage is Stage.QUEUED
            assert self.queues.withdraw(ticket) is waited

    @rule()
    def time_passes(self) -> None:
        self.now_s += 1

    @invariant()
    def everything_is_counted_once(self) -> None:
        if not hasattr(self, "queues"):
            return
        shot = self.queues.snapshot()
        for counts in (*shot.queues.values(), shot.total):
            ended = (
                counts.completed + counts.failed + counts.unknown + counts.shed + counts.rejected
            )
            assert counts.submitted == ended + counts.queued + counts.in_flight
        for queue in Queue:
            counts = shot.queues[queue.value]
            mine = [each for each in self.tickets if each.queue is queue]
            assert counts.submitted == len(mine)
            assert counts.queued == len(self.waiting(queue))
            assert counts.cost == self.cost(queue)
            assert counts.in_flight == sum(each.stage is Stage.IN_FLIGHT for each in mine)
            assert counts.in_flight <= self.limits[queue].at_once
        assert shot.total.cost <= self.queues.budget
        for each in self.tickets:
            assert (each.stage is Stage.OVER) == (each.outcome is not None)
            if each.outcome is not Outcome.ABANDONED:
                # What decided says what was decided.
                assert verdict_of(each.wait) == verdict_as_seen(each)

    @invariant()
    def of_a_lane_one_is_under_way_in_order(self) -> None:
        lanes = [each.lane for each in self.tickets if each.lane and each.stage is Stage.IN_FLIGHT]
        assert len(lanes) == len(set(lanes))

    @rule(target=in_flight)
    def nobody_waits_where_there_is_room(self) -> object:
        begun = self.moved(self.queues.advance(self.now_s))
        for queue in Queue:
            under_way = [
                each
                for each in self.tickets
                if each.queue is queue and each.stage is Stage.IN_FLIGHT
            ]
            if len(under_way) < self.limits[queue].at_once:
                busy = {each.lane for each in under_way} | set(self.owed)
                assert all(each.lane in busy for each in self.waiting(queue))
        return multiple(*begun)


TestStorm = Storm.TestCase
TestStorm.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

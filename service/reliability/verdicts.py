"""Who is admitted and who gives way: each verdict as a function of the few numbers that it rests on.

The queues decide by these functions and keep what they were called with; a replay calls them again. Pure.
"""

from enum import StrEnum
from typing import Final

import msgspec

ADMITTED: Final = "admitted"
REJECTED: Final = "rejected"
SHED: Final = "shed"
EXPIRED: Final = "expired"
QUEUED: Final = "queued"
NOBODY: Final = 0
"""Sequences begin with one."""


class Queue(StrEnum):
    """Where work waits: frames of streams, calls of tools, turns over HTTP."""

    STREAM = "stream"
    TOOL = "tool"
    MODEL = "model"


class Entry(msgspec.Struct, frozen=True):
    """A queue as somebody comes: how much of it is in flight, how much may be, and whether anything has to be begun before."""

    in_flight: int
    at_once: int
    waits: bool


class Share(msgspec.Struct, frozen=True):
    """What waits in one queue, the newcomer included: its cost, how much of that nobody can take, and the sequence of the oldest."""

    cost: int
    floor: int
    oldest: int | None


class Room(msgspec.Struct, frozen=True, tag=True):
    """All queues as somebody wants to wait: by how much the budget would be exceeded, and who has what."""

    excess: int
    queues: dict[Queue, Share]


class Turn(msgspec.Struct, frozen=True, tag=True):
    """Somebody's turn, or a look at it as the `oldest` of its queue: until when it waits, the time, what is in flight and may be."""

    deadline_s: float
    now_s: float
    oldest: bool
    in_flight: int
    at_once: int


class Wait(msgspec.Struct, omit_defaults=True):
    """All that decided about one that came: what it found, whom it asked for room, and what its wait ended with.

    `sequence` is its place in the order of all that ever came, `end` the room that it gave, or its turn.
    """

    sequence: int
    cost: int
    entry: Entry
    rooms: list[Room] = []
    end: Room | Turn | None = None


def begins_at_once(entry: Entry) -> bool:
    """Whether somebody need not wait."""
    return entry.in_flight < entry.at_once and not entry.waits


def gives_way(room: Room) -> int | None:
    """The sequence of who gives way so that there is room: the oldest of the queues above their floors.

    NOBODY where there is room, None where that would be the newcomer itself.
    """
    if room.excess <= 0:
        return NOBODY
    above = [each for each in room.queues.values() if each.cost > each.floor]
    return min((each.oldest for each in above if each.oldest is not None), default=None)


def verdict_of_turn(turn: Turn) -> str:
    """Whether somebody is ADMITTED by now, EXPIRED, or still QUEUED."""
    free = turn.in_flight < turn.at_once
    if turn.deadline_s <= turn.now_s and (free or turn.oldest):
        return EXPIRED
    return ADMITTED if free else QUEUED


def verdict_of(wait: Wait) -> str:
    """What became of somebody: ADMITTED, REJECTED, SHED or EXPIRED; QUEUED where it waits on."""
    if begins_at_once(wait.entry):
        return ADMITTED
    if any(gives_way(room) is None for room in wait.rooms):
        return REJECTED
    match wait.end:
        case Turn():
            return verdict_of_turn(wait.end)
        case Room():
            return SHED if gives_way(wait.end) == wait.sequence else QUEUED
        case None:
            return QUEUED

"""What a load is asked to do, and what it says it did: the messages between harness and load process."""

from collections.abc import Iterator, Mapping
from itertools import count, islice
from math import floor
from typing import Literal

from msgspec import Raw, Struct

from chaos import bounds

MAX_REQUESTS = bounds.REQUESTS
"""No load sends more, whatever it is asked for."""


class Stage(Struct, frozen=True):
    """A constant rate for a while."""

    per_s: float
    for_s: float

    def planned(self) -> int:
        """How many requests start within the stage, the first one at its beginning."""
        return floor(self.per_s * self.for_s + 1e-6)


class Rates(Struct, frozen=True, tag="rate"):
    """Open loop: requests start on schedule, whatever became of the earlier ones."""

    stages: list[Stage]


class Clients(Struct, frozen=True, tag="clients"):
    """Closed loop: each of `count` clients sends its next request when the last one was answered."""

    count: int
    for_s: float


class Bursts(Struct, frozen=True, tag="burst"):
    """`size` requests at once, each on its own connection; `times` of them, `every_s` apart."""

    size: int
    times: int = 1
    every_s: float = 1.0


class Message(Struct, frozen=True, kw_only=True):
    """One kind of request. `{i}` and `{uuid}` in path, header values and body differ for each of them.

    `route` is the path as written in the spec; `actor` and `role` are for the record.
    """

    method: str
    path: str
    route: str
    headers: list[tuple[str, str]] = []
    body: str | None = None
    actor: str | None = None
    role: str | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """Everything a load process needs to know.

    Rows get `seq` from `first_seq` on; `at_most` is how many numbers were reserved. `origin_s` is
    CLOCK_MONOTONIC at the run's origin. `secrets` (with their names) and what matches `patterns` is never recorded;
    what was seen of them has `seq` from `first_secret_seq` on. `keep_alive_s` is how long the server is said to keep an
    idle connection.
    """

    run_id: str
    gate: str
    directory: str
    origin_s: float
    load: str
    step: str
    vars: Raw
    link: str | None
    process: str
    host: str
    port: int
    source: str | None
    seed: int
    first_seq: int
    at_most: int
    shape: Rates | Clients | Bursts
    messages: list[Message]
    timeout_s: float = 10.0
    keep_alive_s: float | None = None
    max_connections: int = bounds.CONNECTIONS
    first_secret_seq: int = 0
    secrets: dict[str, str] = {}
    patterns: list[str] = []


class Began(Struct, frozen=True, tag="began"):
    """First line of a load's output: it is about to send."""

    began_ms: float


class Summary(Struct, frozen=True, kw_only=True, tag="summary"):
    """Last line of a load's output. `cpu_s` is the processor time of the whole process."""

    planned: int
    sent: int
    done: int
    late_p99_ms: float
    began_ms: float
    ended_ms: float
    cpu_s: float
    problem: str | None


SHAPES: Mapping[type[Struct], Literal["rate", "clients", "burst"]] = {
    Rates: "rate",
    Clients: "clients",
    Bursts: "burst",
}
"""What evidence calls them."""


def planned(shape: Rates | Clients | Bursts, at_most: int) -> int | None:
    """How many requests the shape comes to; None for a closed loop, which sends what it can."""
    if isinstance(shape, Clients):
        return None
    if isinstance(shape, Bursts):
        return min(at_most, shape.size * shape.times)
    return min(at_most, sum(stage.planned() for stage in shape.stages))


def offsets_s(stages: list[Stage], at_most: int) -> Iterator[float]:
    """Seconds from the beginning at which each request of an open loop is to start."""
    return islice(_all_offsets_s(stages), at_most)


def _all_offsets_s(stages: list[Stage]) -> Iterator[float]:
    begin = 0.0
    for stage in stages:
        yield from (begin + k / stage.per_s for k in islice(count(), stage.planned()))
        begin += stage.for_s


def shortest_s(shape: Rates | Clients | Bursts) -> float:
    """Before how many seconds it has not ended."""
    if isinstance(shape, Clients):
        return shape.for_s
    if isinstance(shape, Bursts):
        return (shape.times - 1) * shape.every_s
    return max(0.0, sum(stage.for_s for stage in shape.stages) - 1 / shape.stages[-1].per_s)


def longest_s(plan: Plan) -> float:
    """After how many seconds the load has ended for certain, counted from its beginning."""
    shape = plan.shape
    if isinstance(shape, Clients):
        lasts_s = shape.for_s
    elif isinstance(shape, Bursts):
        # The connections of the first burst are opened before it, within the time-out too.
        lasts_s = plan.timeout_s + (shape.times - 1) * shape.every_s
    else:
        lasts_s = sum(stage.for_s for stage in shape.stages)
    return lasts_s + plan.timeout_s

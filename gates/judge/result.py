"""Verdicts as data, and how they are merged."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

Status = Literal["PASS", "FAIL", "UNKNOWN"]

Cause = Literal["host"]
"""Why something is UNKNOWN, where it is neither the system nor the gate: the machine was too slow to measure on."""

_ORDER: tuple[Status, ...] = ("FAIL", "UNKNOWN", "PASS")


def merge(statuses: Iterable[Status]) -> Status:
    """FAIL before UNKNOWN before PASS; of nothing, UNKNOWN: nothing measured is never a pass."""
    found = set(statuses)
    for status in _ORDER:
        if status in found:
            return status
    return "UNKNOWN"


class AssertionResult(Struct, frozen=True, kw_only=True):
    """What one assertion came to.

    `measured` is the value or the share, or for every and none how many rows violate it. `violating` counts
    rows, `rows` are the first of them in order of `seq`, long fields cut, with what the predicate looks at (`looks_at`)
    first. For `nulls` of the rows it is not known whether they satisfy the predicate. `sql` is what was run.
    """

    that: str
    status: Status
    measured: int | float | None
    expectation: str
    population: int | None
    at_least: int
    violating: int | None
    rows: list[dict[str, object]]
    sql: str
    why: str
    cause: Cause | None = None
    looks_at: list[str] = []
    nulls: int = 0


class FaultResult(Struct, frozen=True, kw_only=True):
    """What one fault came to: whether it is proven from its probes, and if not, why. Times are milliseconds."""

    fault: str
    kind: str
    link: str
    direction: str
    attributes: dict[str, float]
    proven: bool
    on_ms: float | None
    proven_ms: float | None
    off_ms: float | None
    clean_ms: float | None
    own_before: int
    why: str | None


class Finding(Struct, frozen=True):
    """Something about a run that is no assertion. `source` is the rule's subject: run, seal, step, load, …"""

    status: Status
    source: str
    message: str
    cause: Cause | None = None


class GateVerdict(Struct, frozen=True, kw_only=True):
    """The verdict on one run of one gate, with everything that it rests on.

    `reasons` are those of anything but PASS, one each, what is behind the status first; `detail` has the first of them.
    `cause` is `host` where it is UNKNOWN, nothing failed, and every reason for UNKNOWN is the host's: only such
    a run may be followed by another attempt.
    """

    gate: str
    id: str
    run_id: str | None
    mode: str | None
    status: Status
    detail: str
    assertions: list[AssertionResult]
    faults: list[FaultResult]
    findings: list[Finding]
    reasons: list[str] = []
    cause: Cause | None = None

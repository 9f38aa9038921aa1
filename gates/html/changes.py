"""What changed since an earlier report: statuses, gates, assertions and their bounds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from gates.report import AssertionReport, GateReport, Report, Status

Direction = Literal["worse", "better", "other"]
_RANK: Mapping[Status, int] = {"PASS": 3, "SKIP": 2, "MISSING": 1, "UNKNOWN": 1, "FAIL": 0}


class Change(Struct, frozen=True, kw_only=True):
    """One change of one gate; `before` and `after` are None where there was or is nothing."""

    direction: Direction
    gate_id: str
    name: str
    what: str
    before: str | None
    after: str | None


class Base(Struct, frozen=True, kw_only=True):
    """The report that was compared with, and all changes, the bad ones first."""

    version: str
    verdict: str
    timestamp: str
    changes: list[Change]


def last_report(releases: Path, report: Report) -> Report | None:
    """The newest report below `releases` that is older than this one, or None.

    A release of another version that was promoted is what a reader means by "the last release"; without
    one it is whatever was reported last. What cannot be read is no base for a comparison.
    """
    found = [
        other
        for path in sorted(releases.glob("*/gate-report.json"))
        if (other := _readable(path)) is not None and other.timestamp < report.timestamp
    ]
    promoted = [r for r in found if r.verdict == "PROMOTE" and r.version != report.version]
    return max(promoted or found, key=lambda other: other.timestamp, default=None)


def compare(base: Report, report: Report) -> Base:
    """All changes from `base` to `report`. Gates that were not part of this run are left out."""
    before = {gate.name: gate for gate in base.gates}
    after = {gate.name: gate for gate in report.gates if gate.status != "SKIP"}
    changes = [
        change
        for name, gate in after.items()
        for change in (_gate_changes(before[name], gate) if name in before else [_added(gate)])
    ]
    if not report.partial:
        listed = {gate.name for gate in report.gates}
        changes += [_removed(gate) for name, gate in before.items() if name not in listed]
    order: tuple[Direction, ...] = ("worse", "other", "better")
    return Base(
        version=base.version,
        verdict=base.verdict,
        timestamp=base.timestamp,
        changes=sorted(changes, key=lambda change: order.index(change.direction)),
    )


def _readable(path: Path) -> Report | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError):
        return None


def _change(
    gate: GateReport, direction: Direction, what: str, before: str | None, after: str | None
) -> Change:
    return Change(
        direction=direction, gate_id=gate.id, name=gate.name, what=what, before=before, after=after
    )


def _added(gate: GateReport) -> Change:
    return _change(gate, "other", "gate", None, gate.status)


def _removed(gate: GateReport) -> Change:
    return _change(gate, "worse", "gate", gate.status, None)


def _gate_changes(before: GateReport, after: GateReport) -> Iterator[Change]:
    if before.status != after.status:
        worse = _RANK[after.status] < _RANK[before.status]
        direction: Direction = "worse" if worse else "better"
        yield _change(after, direction, "status", before.status, after.status)
    if not (before.assertions and after.assertions):
        # A gate without a run says nothing about what it asserts.
        return
    old = {assertion.that: assertion for assertion in before.assertions}
    new = {assertion.that: assertion for assertion in after.assertions}
    for that in sorted(old.keys() - new.keys()):
        yield _change(after, "worse", "assertion", that, None)
    for that in sorted(new.keys() - old.keys()):
        yield _change(after, "other", "assertion", None, that)
    for that, assertion in new.items():
        if that in old:
            yield from _bounds(after, old[that], assertion)


def _bounds(gate: GateReport, before: AssertionReport, after: AssertionReport) -> Iterator[Change]:
    """Which way an expectation moved is for a reader to judge; a smaller population is always looser."""
    if before.expectation != after.expectation:
        what = f"expectation of “{after.that}”"
        yield _change(gate, "other", what, before.expectation, after.expectation)
    if before.at_least != after.at_least:
        what = f"smallest population of “{after.that}”"
        direction: Direction = "worse" if after.at_least < before.at_least else "better"
        yield _change(gate, direction, what, str(before.at_least), str(after.at_least))

"""What changed between two reports, and whether a gate has become easier to pass."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from gates.release.report import AssertionReport, DefectReport, GateReport, Report
from gates.spec.assertion import Assertion, Named

Direction = Literal["loosened", "tightened", "unclear", "worse", "better", "changed"]
FLAGGED: frozenset[Direction] = frozenset({"loosened", "unclear"})
"""What needs a look: a gate that is easier to pass, or of which that cannot be told."""

_RANK: Mapping[str, int] = {"PASS": 2, "SKIP": 1, "UNKNOWN": 1, "MISSING": 1, "FAIL": 0}
_BOUND = re.compile(r"\s*(>=|<=|>|<|=)\s*(-?[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*")
_BETWEEN = re.compile(r"\s*between\s+(-?[0-9.]+)\s+and\s+(-?[0-9.]+)\s*", re.IGNORECASE)
_PREDICATES = ("every", "none", "share", "value")


class Change(Struct, frozen=True, kw_only=True):
    """One change: of which gate, or of the release where there is none; `before` or `after` may be nothing."""

    gate: str | None
    direction: Direction
    what: str
    before: str | None
    after: str | None

    @property
    def flagged(self) -> bool:
        """Whether somebody should look at it."""
        return self.direction in FLAGGED


class Rewritten(Struct, frozen=True, kw_only=True):
    """A gate that is written otherwise than before, or gone, and the reason that the newer release gives for it."""

    gate: str
    reason: str | None


class Diff(Struct, frozen=True, kw_only=True):
    """Both releases with their verdicts, and all changes in the order of the newer one's gates."""

    base: str
    new: str
    base_verdict: str
    new_verdict: str
    changes: list[Change]
    rewritten: list[Rewritten] = []

    @property
    def flagged(self) -> list[Change]:
        """What needs a look."""
        return [change for change in self.changes if change.flagged]


def compare(base: Report, new: Report) -> Diff:
    """Every change from `base` to `new`."""
    changes = [*_release_changes(base, new)]
    before = {gate.name: gate for gate in base.gates}
    after = {gate.name: gate for gate in new.gates}
    for name, gate in after.items():
        if name in before:
            changes += _gate_changes(before[name], gate)
        else:
            changes.append(_change(gate, "tightened", "the gate is new", None, gate.status))
    for name, gate in before.items():
        if name not in after:
            changes.append(_change(gate, "loosened", "the gate was removed", gate.status, None))
    return Diff(
        base=base.version,
        new=new.version,
        base_verdict=base.verdict,
        new_verdict=new.verdict,
        changes=changes,
        rewritten=[*_rewritten(before, after, new.reasons)],
    )


def _rewritten(
    before: Mapping[str, GateReport], after: Mapping[str, GateReport], reasons: Mapping[str, str]
) -> Iterator[Rewritten]:
    for name, gate in before.items():
        now = after.get(name)
        same = now is not None and None in (gate.spec_sha256, now.spec_sha256)
        if not same and (now is None or now.spec_sha256 != gate.spec_sha256):
            yield Rewritten(gate=f"{gate.id} {name}", reason=reasons.get(name, "").strip() or None)


def _change(
    gate: GateReport | None, direction: Direction, what: str, before: object, after: object
) -> Change:
    return Change(
        gate=f"{gate.id} {gate.name}" if gate is not None else None,
        direction=direction,
        what=what,
        before=_text(before),
        after=_text(after),
    )


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value, order="sorted").decode()


def _release_changes(base: Report, new: Report) -> Iterator[Change]:
    if base.verdict != new.verdict:
        direction: Direction = "better" if new.verdict == "PROMOTE" else "worse"
        yield _change(None, direction, "verdict", base.verdict, new.verdict)
    before = {one.id: one for one in base.invariants}
    after = {one.id: one for one in new.invariants}
    for name in before.keys() - after.keys():
        yield _change(
            None, "loosened", f"invariant {name} was removed", before[name].statement, None
        )
    for name, one in after.items():
        if name not in before:
            yield _change(None, "tightened", f"invariant {name} is new", None, one.statement)
        elif before[name].holds != one.holds:
            better: Direction = "better" if one.holds else "worse"
            yield _change(None, better, f"invariant {name} holds", before[name].holds, one.holds)
    for waiver in new.waivers:
        if waiver not in base.waivers:
            yield _change(None, "loosened", f"waiver of {waiver.gate}", None, waiver.reason)


def _gate_changes(before: GateReport, after: GateReport) -> Iterator[Change]:
    if before.status != after.status:
        better = _RANK[after.status] > _RANK[before.status]
        yield _change(after, "better" if better else "worse", "status", before.status, after.status)
    if before.proven != after.proven:
        better = after.proven is True
        yield _change(after, "better" if better else "worse", "proven", before.proven, after.proven)
    if before.spec_sha256 is None or after.spec_sha256 is None:
        # One of them was not run, so there is no text to be compared.
        return
    if before.spec_sha256 == after.spec_sha256:
        return
    changes = [*_spec_changes(before, after)]
    yield from changes
    if not changes:
        yield _change(
            after,
            "unclear",
            "its steps, data or frame changed",
            before.spec_sha256[:12],
            after.spec_sha256[:12],
        )


def _spec_changes(before: GateReport, after: GateReport) -> Iterator[Change]:
    for field in ("class_", "severity", "title"):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            down = field == "class_" or (field == "severity" and old == "blocker")
            yield _change(after, "unclear" if down else "changed", field.rstrip("_"), old, new)
    if before.config != after.config:
        yield _change(after, "unclear", "configuration", before.config, after.config)
    yield from _assertion_changes(before, after)
    for name in sorted(before.queries.keys() | after.queries.keys()):
        yield from _query_changes(after, name, before.queries.get(name), after.queries.get(name))
    yield from _defect_changes(before, after)


def _assertion_changes(before: GateReport, after: GateReport) -> Iterator[Change]:
    old = {one.that: one for one in before.assertions}
    new = {one.that: one for one in after.assertions}
    for name, one in old.items():
        if name not in new:
            yield _change(after, "loosened", f"assertion removed: {name}", one.expectation, None)
    for name, one in new.items():
        if name not in old:
            yield _change(after, "tightened", f"assertion added: {name}", None, one.expectation)
        else:
            for direction, what, was, now in _within(old[name], one):
                yield _change(after, direction, f"{name}: {what}", was, now)


_Found = tuple[Direction, str, object, object]


def _within(before: AssertionReport, after: AssertionReport) -> Iterator[_Found]:
    """What changed inside of one assertion."""
    if before.at_least != after.at_least:
        yield _lower(before.at_least, after.at_least), "at_least", before.at_least, after.at_least
    if before.spec is None or after.spec is None:
        if before.expectation != after.expectation:
            yield "unclear", "expectation", before.expectation, after.expectation
        return
    yield from _written(before.spec, after.spec)


def _lower(before: int, after: int) -> Direction:
    return "loosened" if after < before else "tightened"


def _written(before: Assertion, after: Assertion) -> Iterator[_Found]:
    if before.from_ != after.from_:
        yield "unclear", "from", before.from_, after.from_
    old, new = _sort(before), _sort(after)
    if old != new:
        weaker = new == "share" and old in ("every", "none")
        yield "loosened" if weaker else "unclear", "sort of test", old, new
    elif _predicate(before) != _predicate(after):
        yield "unclear", old, _predicate(before), _predicate(after)
    if before.is_ != after.is_:
        yield bound_change(before.is_ or "", after.is_ or ""), "is", before.is_, after.is_
    if before.killed_by_sham != after.killed_by_sham:
        what = "killed_by_sham"
        yield "changed", what, before.killed_by_sham, after.killed_by_sham
    if before.timed != after.timed:
        yield "loosened" if after.timed else "tightened", "timed", before.timed, after.timed


def _sort(assertion: Assertion) -> str:
    return next(name for name in _PREDICATES if getattr(assertion, name) is not None)


def _predicate(assertion: Assertion) -> object:
    return getattr(assertion, _sort(assertion))


def bound_change(before: str, after: str) -> Direction:
    """Whether a bound lets more through than it did: each as the interval of what it admits."""
    old, new = _interval(before), _interval(after)
    if old is None or new is None:
        return "unclear"
    if old == new:
        return "changed"
    admits_more = new[0] <= old[0] and new[1] >= old[1]
    admits_less = new[0] >= old[0] and new[1] <= old[1]
    return "loosened" if admits_more else "tightened" if admits_less else "unclear"


_Edge = tuple[float, int]


def _interval(bound: str) -> tuple[_Edge, _Edge] | None:
    """(lower, upper), each a number and how far beside it the edge lies: `> 1` begins just above 1."""
    between = _BETWEEN.fullmatch(bound)
    if between is not None:
        return (float(between[1]), 0), (float(between[2]), 0)
    found = _BOUND.fullmatch(bound)
    if found is None:
        return None
    number = float(found[2].replace("_", ""))
    lowest, highest = (float("-inf"), 0), (float("inf"), 0)
    intervals: Mapping[str, tuple[_Edge, _Edge]] = {
        ">=": ((number, 0), highest),
        ">": ((number, 1), highest),
        "<=": (lowest, (number, 0)),
        "<": (lowest, (number, -1)),
        "=": ((number, 0), (number, 0)),
    }
    return intervals[found[1]]


def _query_changes(
    gate: GateReport, name: str, before: Named | None, after: Named | None
) -> Iterator[Change]:
    if before is None or after is None:
        what = f"query {name} was {'added' if before is None else 'removed'}"
        yield _change(gate, "changed", what, before and before.query, after and after.query)
        return
    if before.query != after.query:
        yield _change(gate, "unclear", f"query {name}", before.query, after.query)
    if before.at_least != after.at_least:
        direction = _lower(before.at_least, after.at_least)
        what = f"query {name}: at_least"
        yield _change(gate, direction, what, before.at_least, after.at_least)


def _defect_changes(before: GateReport, after: GateReport) -> Iterator[Change]:
    old = {one.defect: one for one in before.defects}
    new = {one.defect: one for one in after.defects}
    for name in old.keys() - new.keys():
        yield _change(after, "loosened", f"defect removed: {name}", old[name].fails, None)
    for name, one in new.items():
        if name not in old:
            yield _change(after, "tightened", f"defect added: {name}", None, one.fails)
        else:
            yield from _defect_change(after, old[name], one)


def _defect_change(gate: GateReport, before: DefectReport, after: DefectReport) -> Iterator[Change]:
    name = after.defect
    if set(before.fails) != set(after.fails):
        direction = _fewer(before.fails, after.fails)
        yield _change(gate, direction, f"defect {name}: fails", before.fails, after.fails)
    if set(before.may_fail) != set(after.may_fail):
        direction = _fewer(after.may_fail, before.may_fail)
        yield _change(gate, direction, f"defect {name}: may_fail", before.may_fail, after.may_fail)
    if before.racing != after.racing:
        direction = "loosened" if before.racing else "tightened"
        yield _change(gate, direction, f"defect {name}: racing", before.racing, after.racing)
    if before.file != after.file or (before.diff and after.diff and before.diff != after.diff):
        yield _change(gate, "changed", f"defect {name}: edit", before.diff, after.diff)


def _fewer(before: Sequence[str], after: Sequence[str]) -> Direction:
    if set(after) < set(before):
        return "loosened"
    return "tightened" if set(after) > set(before) else "unclear"

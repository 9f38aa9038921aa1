"""Refused attempts are written down, a bounded share of a flood, and what was held back is counted."""

import msgspec
import pytest

from service.audit.denied import DeniedAttempts
from service.effects import Cause, system_cause
from service.errors import Unavailable
from service.jsontypes import Json

CAUSE = Cause("req_1", "anonymous", "anonymous", "auth.denied", "/tasks", "GET", "/tasks", "denied")


class Notes:
    """Stands for the storage: remembers what was to be written, or is full."""

    def __init__(self) -> None:
        self.written: list[tuple[Cause, dict[str, Json]]] = []
        self.full = False

    def note(self, cause: Cause, detail: dict[str, Json]) -> None:
        if self.full:
            raise Unavailable("full")
        self.written.append((cause, detail))


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def hands() -> Hands:
    return Hands()


def attempts(notes: Notes, hands: Hands, per_s: float = 2.0) -> DeniedAttempts:
    return DeniedAttempts(notes, hands, per_s)  # type: ignore[arg-type]


def test_few_are_all_written(notes: Notes, hands: Hands) -> None:
    denied = attempts(notes, hands)
    for _ in range(4):
        denied.record(CAUSE, "absent")
    assert notes.written == [(CAUSE, {"reason": "absent"})] * 4
    assert denied.total == 4


def test_a_flood_is_bounded_and_counted_in_the_next_row(notes: Notes, hands: Hands) -> None:
    denied = attempts(notes, hands)
    for _ in range(10):
        denied.record(CAUSE, "absent")
    # Two seconds' worth at once.
    assert len(notes.written) == 4
    assert denied.total == 10
    hands.ms += 499
    denied.record(CAUSE, "absent")
    assert len(notes.written) == 4
    hands.ms += 1
    denied.record(CAUSE, "absent")
    assert notes.written[4:] == [(CAUSE, {"reason": "absent", "suppressed_before": 7})]
    hands.ms += 1000
    denied.record(CAUSE, "absent")
    assert notes.written[5:] == [(CAUSE, {"reason": "absent"})]


def test_a_flood_of_one_reason_hides_no_other(notes: Notes, hands: Hands) -> None:
    denied = attempts(notes, hands)
    for _ in range(10):
        denied.record(CAUSE, "absent")
    for _ in range(5):
        denied.record(CAUSE, "expired")
    assert notes.written[4:] == [(CAUSE, {"reason": "expired"})] * 4
    assert denied.total == 15
    denied.flush("req_2")
    counted = [(detail["reason"], detail["suppressed_before"]) for _, detail in notes.written[8:]]
    assert counted == [("absent", 6), ("expired", 1)]


def test_no_more_is_saved_up_than_two_seconds_worth(notes: Notes, hands: Hands) -> None:
    denied = attempts(notes, hands)
    hands.ms += 3_600_000
    for _ in range(10):
        denied.record(CAUSE, "absent")
    assert len(notes.written) == 4


def test_a_slow_share_still_has_one_at_once(notes: Notes, hands: Hands) -> None:
    denied = attempts(notes, hands, 0.1)
    denied.record(CAUSE, "absent")
    denied.record(CAUSE, "absent")
    assert len(notes.written) == 1


def test_what_cannot_be_queued_is_counted_and_takes_no_share(notes: Notes, hands: Hands) -> None:
    denied = attempts(notes, hands, 0.5)
    notes.full = True
    denied.record(CAUSE, "absent")
    notes.full = False
    denied.record(CAUSE, "absent")
    assert notes.written == [(CAUSE, {"reason": "absent", "suppressed_before": 1})]


def test_the_end_writes_what_was_only_counted(notes: Notes, hands: Hands) -> None:
    denied = attempts(notes, hands, 0.5)
    denied.flush("req_2")
    assert notes.written == []
    denied.record(CAUSE, "absent")
    denied.record(CAUSE, "absent")
    denied.flush("req_2")
    denied.flush("req_2")
    suppressed = system_cause("gate", "auth.denied.suppressed", "req_2")
    assert notes.written[1:] == [(suppressed, {"reason": "absent", "suppressed_before": 1})]


def test_a_flood_of_one_known_caller_hides_no_other(notes: Notes, hands: Hands) -> None:
    denied = attempts(notes, hands)
    one, other = (
        msgspec.structs.replace(CAUSE, actor_id=each, actor_role="observer")
        for each in ("tok_1", "tok_2")
    )
    for _ in range(10):
        denied.record(one, "insufficient_scope")
        denied.record(CAUSE, "revoked", "tok_3")
    denied.record(other, "insufficient_scope")
    denied.record(CAUSE, "revoked", "tok_4")
    assert [cause for cause, _ in notes.written] == [one, CAUSE] * 4 + [other, CAUSE]


def test_callers_are_not_remembered_for_ever(notes: Notes, hands: Hands) -> None:
    denied = attempts(notes, hands)
    for each in range(3000):
        hands.ms += 10
        denied.record(CAUSE, "revoked", f"tok_{each}")
    assert len(notes.written) == 3000
    assert len(denied._buckets) < 1100

"""What became of mutants follows from findings alone."""

import pytest

from gates.mutants.evaluate import (
    Finding,
    Outcome,
    Result,
    outcome_of_gate,
    result_of,
    tallies,
    tally,
)
from gates.mutants.mutations import mutations_of


def found(outcome: Outcome) -> Finding:
    return Finding(outcome=outcome, by=[], detail="", seconds=1.0)


@pytest.mark.parametrize(
    ("status", "measured", "late", "outcome"),
    [
        ("FAIL", True, False, "killed"),
        # A step of the scenario failed before the time limit came.
        ("FAIL", True, True, "killed"),
        ("PASS", True, False, "survived"),
        ("UNKNOWN", True, False, "survived"),
        ("UNKNOWN", True, True, "timed out"),
        ("UNKNOWN", False, True, "timed out"),
        ("UNKNOWN", False, False, "not viable"),
    ],
)
def test_what_a_gate_says(status: str, measured: bool, late: bool, outcome: str) -> None:
    assert outcome_of_gate(status, measured=measured, late=late) == outcome


MUTATIONS = mutations_of("a.py", "a < b\n") + mutations_of("b.py", "a < b\nc = 1\n")


def results() -> list[Result]:
    """One killed mutant of a.py, and of b.py one that survived and two that are called equivalent."""
    equivalent = {mutation.sha256: "why" for mutation in MUTATIONS[2:]}
    outcomes: list[Outcome] = ["killed", "survived", "survived", "timed out"]
    pairs = zip(MUTATIONS, outcomes, strict=True)
    return [result_of("g", mutation, found(outcome), equivalent) for mutation, outcome in pairs]


def test_both_shares() -> None:
    total = tally(results(), 7)
    assert (total.killed, total.survived, total.equivalent, total.timed_out) == (1, 2, 1, 1)
    assert total.unreached == 7
    assert total.share == 1 / 4
    assert total.share_without_equivalent == 1 / 3


def test_of_nothing_there_is_no_share() -> None:
    assert tally([], 3).share is None
    unviable = result_of("g", MUTATIONS[0], found("not viable"), {})
    assert tally([unviable], 0).share_without_equivalent is None


def test_what_was_overlooked() -> None:
    # What ran into its time limit was not noticed, unless a review says that nobody could.
    assert [each.overlooked for each in results()] == [False, True, False, False]
    late = result_of("g", MUTATIONS[0], found("timed out"), {})
    assert late.overlooked


def test_groups_without_a_mutant_are_there_too() -> None:
    counted = tallies(results(), {"a.py": 0, "b.py": 1, "c.py": 5}, lambda result: result.file)
    assert {
        name: (each.killed, each.survived, each.unreached) for name, each in counted.items()
    } == {
        "a.py": (1, 0, 0),
        "b.py": (0, 2, 1),
        "c.py": (0, 0, 5),
    }

"""What became of mutants follows from attempts alone."""

from collections.abc import Sequence

import pytest

from gates.mutants.evaluate import (
    Attempt,
    Result,
    by_gate,
    ends,
    outcome_of,
    result_of,
    tallies,
    tally,
)
from gates.mutants.mutations import mutations_of


def attempt(
    gate: str = "g",
    status: str = "PASS",
    red: Sequence[str] = (),
    *,
    measured: bool = True,
    late: bool = False,
) -> Attempt:
    """A gate's run against a mutant."""
    return Attempt(
        gate=gate,
        status=status,
        detail="",
        red=list(red),
        measured=measured,
        late=late,
        seconds=1.0,
    )


PASSED = attempt()
RED = attempt("h", "FAIL", ["a"])
STEP = attempt(status="FAIL")
UNKNOWN = attempt(status="UNKNOWN")
UNMEASURED = attempt("i", "UNKNOWN", measured=False)
LATE = attempt(status="UNKNOWN", late=True)


@pytest.mark.parametrize(
    ("attempts", "outcome"),
    [
        ([RED], "killed"),
        ([PASSED, UNMEASURED, RED], "killed"),
        ([PASSED, PASSED], "survived"),
        ([UNKNOWN], "survived"),
        ([STEP], "killed"),
        ([attempt(status="UNKNOWN", red=["a"])], "survived"),
        ([PASSED, UNMEASURED], "survived"),
        ([UNMEASURED, UNMEASURED], "not viable"),
        ([PASSED, LATE], "timed out"),
        ([attempt(status="UNKNOWN", measured=False, late=True)], "timed out"),
    ],
)
def test_outcome(attempts: list[Attempt], outcome: str) -> None:
    assert outcome_of(attempts) == outcome


def test_a_kill_or_a_time_limit_ends_it() -> None:
    assert [ends(each) for each in (RED, STEP, LATE, PASSED, UNKNOWN, UNMEASURED)] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


MUTATIONS = mutations_of("a.py", "a < b\n") + mutations_of("b.py", "a < b\nc = 1\n")


def results() -> list[Result]:
    """One killed mutant of a.py, and of b.py one that survived and two that are called equivalent."""
    equivalent = {mutation.sha256: "why" for mutation in MUTATIONS[2:]}
    runs = [[PASSED, RED], [PASSED], [PASSED], [LATE]]
    pairs = zip(MUTATIONS, runs, strict=True)
    return [result_of(mutation, attempts, equivalent) for mutation, attempts in pairs]


def test_both_shares() -> None:
    total = tally(results(), 7)
    assert (total.killed, total.survived, total.equivalent, total.timed_out) == (1, 2, 1, 1)
    assert total.unreached == 7
    assert total.share == 1 / 4
    assert total.share_without_equivalent == 1 / 3


def test_of_nothing_there_is_no_share() -> None:
    assert tally([], 3).share is None
    unviable = result_of(MUTATIONS[0], [UNMEASURED], {})
    assert tally([unviable], 0).share_without_equivalent is None


def test_groups_without_a_mutant_are_there_too() -> None:
    found = tallies(results(), {"a.py": 0, "b.py": 1, "c.py": 5}, lambda result: result.file)
    assert {name: (each.killed, each.survived, each.unreached) for name, each in found.items()} == {
        "a.py": (1, 0, 0),
        "b.py": (0, 2, 1),
        "c.py": (0, 0, 5),
    }


def test_a_gate_is_counted_over_what_it_was_run_against() -> None:
    found = by_gate(results(), {"g": 0, "h": 2, "i": 3})
    assert {name: (each.killed, each.survived, each.timed_out) for name, each in found.items()} == {
        "g": (0, 3, 1),
        "h": (1, 0, 0),
        "i": (0, 0, 0),
    }

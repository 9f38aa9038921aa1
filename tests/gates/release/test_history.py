"""A release cannot be run until it is green: whole runs, one after the other."""

import shutil
from pathlib import Path

import pytest

from gates.release import ledger
from gates.release.conclude import conclude
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE, EXIT_UNKNOWN
from gates.verify.verify import Expected, verify
from tests.builders.small_release import SmallRelease


def failing(gate: str) -> int:
    return 500 if gate == "first" else 200


@pytest.fixture
def project(tmp_path: Path) -> SmallRelease:
    return SmallRelease(tmp_path / "shop")


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> SmallRelease:
    """A project whose first run failed, with all its proofs."""
    made = SmallRelease(tmp_path_factory.mktemp("red") / "shop")
    first = made.release(failing)
    assert (first.verdict, first.exit_code) == ("HOLD", EXIT_FAILED)
    return made


@pytest.fixture
def failed(red: SmallRelease, tmp_path: Path) -> SmallRelease:
    """A copy of it that a test may spoil."""
    return red.copied(tmp_path / "shop")


def test_fail_and_then_pass_holds(failed: SmallRelease) -> None:
    second = failed.release()
    assert (second.verdict, second.exit_code) == ("HOLD", EXIT_FAILED)
    assert "flaky, failed before at the same inputs: first" in second.reason
    (attempt,) = second.attempts
    assert attempt.ended and attempt.failed == ["first"] and attempt.differs == []
    found = verify(failed.directory, Expected())
    assert found.flaws == []
    assert found.ledger_head == second.ledger.head


def test_without_proofs_a_release_holds(project: SmallRelease) -> None:
    report = project.release(prove=False)
    assert (report.verdict, report.exit_code) == ("HOLD", EXIT_UNKNOWN)
    assert report.reason == (
        "proofs are missing of F1 second, A1 first: `python -m gates prove` makes them"
        " in about 10 s, then run this again"
    )
    assert verify(project.directory, Expected()).flaws == []
    again = project.release()
    assert (again.verdict, again.exit_code) == ("PROMOTE", EXIT_PROMOTE)


def test_a_run_that_never_ended_holds_the_next(project: SmallRelease) -> None:
    session, _ = project.session()
    report = project.release()
    assert (report.verdict, report.exit_code) == ("HOLD", EXIT_UNKNOWN)
    said = "a run at the same inputs never ended, and nobody knows what it saw"
    assert report.reason == f"{said}: {session.id}"
    assert not report.attempts[0].ended


def test_an_interrupted_run_ends_in_the_ledger(project: SmallRelease) -> None:
    report = project.release(interrupted=True)
    assert report.verdict == "HOLD" and report.reason.startswith("interrupted")
    assert not project.directory.exists()
    entries = ledger.read(project.releases / ledger.FILE).entries
    assert [type(entry).__name__ for entry in entries] == ["Attempt", "Outcome"]
    # Both gates passed in it, so the next run repeats nothing.
    assert project.release().verdict == "PROMOTE"


def test_an_unknown_holds_its_own_run_and_no_later_one(project: SmallRelease) -> None:
    session, specs = project.session()
    for name in session.gates:
        place = session.gate_directory(name, 0)
        project.record(place, session, specs, specs.gates[name], 200, drift_ms=80)
    report, _ = conclude(session, project.releases, interrupted=False)
    assert (report.verdict, report.exit_code) == ("HOLD", EXIT_UNKNOWN)
    report = project.release()
    assert (report.verdict, report.exit_code) == ("PROMOTE", EXIT_PROMOTE)
    assert [sorted(attempt.unknown) for attempt in report.attempts] == [["first", "second"]]


def test_a_deleted_ledger_is_noticed_and_its_last_failure_is_still_known(
    failed: SmallRelease,
) -> None:
    (failed.releases / ledger.FILE).unlink()
    report = failed.release()
    assert report.verdict == "HOLD"
    assert "flaky" in report.reason
    assert "does not go on from the one that v1 was shipped with" in str(report.ledger.problem)


@pytest.mark.parametrize("status", ["PASS", "UNKNOWN"])
def test_a_ledger_whose_last_line_was_edited_holds(failed: SmallRelease, status: str) -> None:
    path = failed.releases / ledger.FILE
    path.write_text(path.read_text().replace('"FAIL"', f'"{status}"'))
    report = failed.release()
    assert (report.verdict, report.exit_code) == ("HOLD", EXIT_UNKNOWN)
    assert "the ledger of attempts cannot be relied on: it does not say what" in report.reason


def test_a_ledger_whose_last_line_was_removed_holds(failed: SmallRelease) -> None:
    path = failed.releases / ledger.FILE
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert "cannot be relied on" in failed.release().reason


def test_another_gate_or_source_is_a_new_start(failed: SmallRelease) -> None:
    path = failed.root / "shop/app.py"
    path.write_text(path.read_text() + "\n# more\n")
    report = failed.release()
    assert "flaky" not in report.reason
    # It is not committed, and that is what holds it.
    assert report.reason == "invariants do not hold: committed"
    assert report.attempts == []


def test_without_a_ledger_that_was_named_a_release_says_what_it_does_not_know(
    project: SmallRelease,
) -> None:
    report = project.release()
    assert report.ledger.named is None
    assert report.ledger.since == report.timestamp
    (limit,) = report.limits
    assert limit.startswith(f"attempts: this machine only, since {report.timestamp};")
    assert verify(project.directory, Expected()).assumed[-1] == "ledger"


def test_what_failed_in_another_clone_is_known_by_the_ledger_that_both_name(
    tmp_path: Path,
) -> None:
    named = tmp_path / "shared.jsonl"
    there = SmallRelease(tmp_path / "there" / "shop", named=named)
    first = there.release(failing)
    here = SmallRelease(tmp_path / "here" / "shop", named=named)
    report = here.release()
    assert (report.verdict, report.exit_code) == ("HOLD", EXIT_FAILED)
    assert "flaky, failed before at the same inputs: first" in report.reason
    assert report.ledger.named == str(named)
    assert report.ledger.since == first.timestamp
    assert report.limits == []
    found = verify(here.directory, Expected(ledger=named))
    assert (found.flaws, found.authenticated) == ([], ["ledger"])
    # It is the ledger of both, and knows of no release that rests on another one.
    other = tmp_path / "other.jsonl"
    other.write_bytes(named.read_bytes().splitlines(keepends=True)[0])
    (flaw,) = verify(here.directory, Expected(ledger=other)).flaws
    assert flaw.problem == f"the release does not rest on {other}"
    named.write_text(named.read_text().replace('"PASS"', '"FAIL"'))
    assert verify(here.directory, Expected(ledger=named)).flaws


def test_what_failed_here_counts_whichever_ledger_is_named(
    failed: SmallRelease, tmp_path: Path
) -> None:
    failed.release(failing)
    failed.named = tmp_path / "shared.jsonl"
    report = failed.release()
    assert "flaky, failed before at the same inputs: first" in report.reason
    # And what failed by a ledger that was named counts where none is.
    failed.named = tmp_path / "another.jsonl"
    failed.release(failing)
    failed.named = None
    report = failed.release()
    assert "flaky" in report.reason
    assert report.ledger.problem is None


def test_a_later_failure_is_found_in_the_ledger(tmp_path: Path) -> None:
    named = tmp_path / "shared.jsonl"
    project = SmallRelease(tmp_path / "shop", named=named)
    assert project.release().verdict == "PROMOTE"
    promoted = tmp_path / "promoted"
    shutil.copytree(project.directory, promoted)
    assert verify(promoted, Expected(ledger=named)).flaws == []
    project.release(failing)
    (flaw,) = verify(promoted, Expected(ledger=named)).flaws
    assert flaw.problem == "first failed in a later run at the same inputs"

"""The system with its defects back is another release, which is never promoted."""

from pathlib import Path

import pytest

from chaos.errors import HarnessError
from gates.commands.baseline import defects_of, spoiled, unexpected
from gates.release import ledger
from gates.release.conclude import conclude
from gates.release.report import Report
from gates.release.stored import stored_report
from gates.run.session import Options, load_session, open_session, project_of
from gates.verify.diff import compare
from gates.verify.verify import Expected, verify
from tests.builders.small_release import RELEASE, SmallRelease

BASELINE = "baseline: {first: all is refused}\n"


@pytest.fixture
def project(tmp_path: Path) -> SmallRelease:
    return SmallRelease(tmp_path / "shop", {"specs/release.yaml": RELEASE + BASELINE})


def run(project: SmallRelease, scratch: Path, failing: str) -> Report:
    """What the command does, but for running the gates: the one that is `failing` answers 500."""
    project_of.cache_clear()
    options = Options(specs=str(project.specs.resolve()))
    opened = open_session(options, project.root / "runs", lambda _: None)
    specs = project_of(options.specs)
    assert specs.release is not None
    defects = defects_of(specs, specs.release)
    session = spoiled(opened, specs, scratch, list(defects.values()))
    for name in session.gates:
        project.record(
            session.gate_directory(name, 0),
            session,
            specs,
            specs.gates[name],
            500 if name == failing else 200,
            mode=session.mode,
            defect=session.defect,
        )
    return conclude(session, project.releases, interrupted=False)[0]


def test_the_baseline_is_measured_and_held(project: SmallRelease, tmp_path: Path) -> None:
    report = run(project, tmp_path / "scratch", failing="first")
    assert "return False" in (tmp_path / "scratch/shop/app.py").read_text()
    assert "return True" in (project.root / "shop/app.py").read_text()
    assert (report.version, report.verdict) == ("v1-baseline", "HOLD")
    assert report.reason == "failed: A1 first"
    assert (report.summary.delta_pass, report.summary.delta_total) == (0, 1)
    assert (report.summary.floor_pass, report.summary.floor_total) == (1, 1)
    assert report.summary.floor_regression == 0
    assert {one.id: one.holds for one in report.invariants}["one-system"] is True
    assert unexpected(report, {"first"}) == []
    directory = project.releases / "v1-baseline"
    assert verify(directory, Expected()).flaws == []
    assert not (project.releases / ledger.FILE).exists()

    # It is no attempt at the release itself, and what changed since is what was mended.
    assert project.release().verdict == "PROMOTE"
    found = compare(stored_report(directory), stored_report(project.directory))
    assert ("A1 first", "better", "status") in [
        (c.gate, c.direction, c.what) for c in found.changes
    ]
    assert not [change for change in found.flagged if change.gate]


def test_a_baseline_in_which_all_passes_is_no_release(
    project: SmallRelease, tmp_path: Path
) -> None:
    report = run(project, tmp_path / "scratch", failing="")
    assert report.verdict == "HOLD"
    (text,) = unexpected(report, {"first"})
    assert text.startswith("A1 first is PASS, not FAIL")


def test_another_gate_that_fails_is_said(project: SmallRelease, tmp_path: Path) -> None:
    report = run(project, tmp_path / "scratch", failing="second")
    assert [text.split(":")[0] for text in unexpected(report, {"first"})] == [
        "F1 second is FAIL, not PASS",
        "A1 first is PASS, not FAIL",
    ]


def test_workers_see_the_copy(project: SmallRelease, tmp_path: Path) -> None:
    run(project, tmp_path / "scratch", failing="first")
    (directory,) = (project.root / "runs").glob("*Z-*")
    session = load_session(str(directory))
    assert session.root == str(tmp_path / "scratch")
    assert (session.mode, session.defect, session.dirty) == ("defect", "baseline", True)


@pytest.mark.parametrize(
    "named", ["", "baseline: {first: no such}\n", "baseline: {none: all is refused}\n"]
)
def test_a_baseline_that_cannot_be_made(tmp_path: Path, named: str) -> None:
    made = SmallRelease(tmp_path / "shop", {"specs/release.yaml": RELEASE + named})
    project_of.cache_clear()
    specs = project_of(str(made.specs.resolve()))
    assert specs.release is not None
    with pytest.raises(HarnessError, match="baseline"):
        defects_of(specs, specs.release)

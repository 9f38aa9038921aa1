"""Trials that were made before: they count at the same inputs only, and for what their evidence says."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gates.prove.evaluate import Trial
from gates.prove.jobs import Job, jobs_of, key_of
from gates.release.report import EXIT_PROMOTE, EXIT_UNKNOWN, GateReport, Report
from gates.verify.verify import Expected, verify
from tests.builders.small_release import SmallRelease
from tests.gates.tampering import edit


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> SmallRelease:
    """A project whose gates were proven and not run since."""
    made = SmallRelease(tmp_path_factory.mktemp("proven") / "shop")
    session, specs = made.session()
    made.prove(session, specs)
    # The session that made them came to nothing else.
    shutil.rmtree(made.releases)
    return made


@pytest.fixture
def project(proven: SmallRelease, tmp_path: Path) -> SmallRelease:
    """A copy of it that a test may spoil."""
    return proven.copied(tmp_path / "shop")


def taken_up(project: SmallRelease) -> Report:
    """A release that makes no proofs of its own."""
    return project.release(prove=False)


def first(report: Report) -> GateReport:
    return next(gate for gate in report.gates if gate.name == "first")


def commit(project: SmallRelease) -> None:
    for command in (["add", "-A"], ["commit", "-qm", "t"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(
            ["git", "-C", str(project.root), *identity, *command], check=True, timeout=30
        )


def places(project: SmallRelease) -> dict[Job, Path]:
    """Where each trial is kept that the project needs now."""
    session, specs = project.session()
    shutil.rmtree(project.releases)
    return {
        job: project.store.directory / key_of(session, specs, job)
        for name in session.gates
        for job in jobs_of(specs.gates[name], 46)
    }


def test_proofs_count_whenever_they_were_made_at_the_same_inputs(project: SmallRelease) -> None:
    """Else no case below would show anything."""
    report = taken_up(project)
    assert (report.verdict, report.exit_code) == ("PROMOTE", EXIT_PROMOTE), report.reason
    assert report.missing_proofs is None
    made = first(report).made
    assert made.keys() == {"control", "all is refused"}
    assert all(one.at <= report.timestamp and one.host for one in made.values())
    assert verify(project.directory, Expected()).flaws == []


CHANGES: dict[str, tuple[str, str, str]] = {
    "source": ("shop/app.py", "return True", "return True  # really"),
    "gate": ("specs/gates/a/first.yaml", "why: w", "why: because"),
    "target": ("specs/targets/shop.yaml", "target: shop\n", "target: shop\ntitle: a shop\n"),
    "release": ("specs/release.yaml", "title: t", "title: another"),
}


@pytest.mark.parametrize(("file", "before", "after"), CHANGES.values(), ids=CHANGES)
def test_proofs_at_other_inputs_do_not_count(
    project: SmallRelease, file: str, before: str, after: str
) -> None:
    edit(project.root / file, before, after)
    commit(project)
    report = taken_up(project)
    assert (report.verdict, report.exit_code) == ("HOLD", EXIT_UNKNOWN)
    assert report.missing_proofs is not None
    assert "A1 first" in report.missing_proofs.gates


@pytest.mark.parametrize(("file", "before", "after"), CHANGES.values(), ids=CHANGES)
def test_proofs_at_other_inputs_that_were_put_in_the_place_of_these(
    project: SmallRelease, file: str, before: str, after: str
) -> None:
    old = places(project)
    edit(project.root / file, before, after)
    commit(project)
    for place, wanted in zip(old.values(), places(project).values(), strict=True):
        if place != wanted:
            place.rename(wanted)
    report = taken_up(project)
    assert (report.verdict, report.exit_code) == ("HOLD", EXIT_UNKNOWN)
    assert "not proven" in report.reason
    assert verify(project.directory, Expected()).flaws == []


def other_host(project: SmallRelease, place: Path) -> None:
    """Made elsewhere, with another interpreter."""
    del project
    edit(place / "first" / "runs.jsonl", '"python":"', '"python":"0')


def not_red(project: SmallRelease, place: Path) -> None:
    """The run of a defect that nothing noticed, painted red."""
    for other, kept in places(project).items():
        if other.gate == "first" and other.kind == "control":
            shutil.rmtree(place / "first")
            shutil.copytree(kept / "first", place / "first")
    edit(place / "first" / "responses.jsonl", '"status":200', '"status":500')


def no_edit(project: SmallRelease, place: Path) -> None:
    """A run that was never of this defect, under another name."""
    for other, kept in places(project).items():
        if other.gate == "first" and other.kind == "control":
            trial = msgspec.json.decode((kept / "trial.json").read_bytes(), type=Trial)
            told = msgspec.json.decode((place / "trial.json").read_bytes(), type=Trial)
            forged = msgspec.structs.replace(told, run_id=trial.run_id)
            (place / "trial.json").write_bytes(msgspec.json.encode(forged))
            shutil.rmtree(place / "first")
            shutil.copytree(kept / "first", place / "first")


def line_less(project: SmallRelease, place: Path) -> None:
    del project
    path = place / "first" / "requests.jsonl"
    path.write_bytes(b"\n".join(path.read_bytes().splitlines()[:-1]) + b"\n")


def of_another_run(project: SmallRelease, place: Path) -> None:
    del project
    edit(place / "trial.json", '"run_id": "', '"run_id": "0')


def of_another_gate(project: SmallRelease, place: Path) -> None:
    del project
    edit(place / "trial.json", '"gate": "first"', '"gate": "../second"')


def unexecuted(project: SmallRelease, place: Path) -> None:
    del project
    edit(place / "trial.json", '"executed": true', '"executed": null')


def unreadable(project: SmallRelease, place: Path) -> None:
    del project
    (place / "trial.json").write_text("{")


TAMPERED = [
    other_host, not_red, no_edit, line_less, of_another_run, of_another_gate, unexecuted, unreadable,
]  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPERED)
def test_a_trial_that_was_tampered_with_proves_nothing(
    project: SmallRelease, tamper: Callable[[SmallRelease, Path], None]
) -> None:
    """No verdict is kept with it: what counts is computed from its evidence, once more by `verify`."""
    place = next(
        path
        for job, path in places(project).items()
        if job.defect is not None and job.gate == "first"
    )
    tamper(project, place)
    report = taken_up(project)
    assert report.verdict == "HOLD"
    assert first(report).proven is not True
    assert verify(project.directory, Expected()).flaws == []


def test_a_stale_defect_holds_the_release_and_stops_nothing(project: SmallRelease) -> None:
    edit(
        project.root / "shop" / "app.py",
        "    return True",
        "    allowed = True\n    return allowed",
    )
    commit(project)
    report = project.release()
    assert (report.verdict, report.exit_code) == ("HOLD", EXIT_UNKNOWN)
    assert report.reason == "not proven: F1 second, A1 first"
    own = first(report)
    assert (own.status, own.proven) == ("PASS", False)
    assert "all is refused: stale: the text does not occur in shop/app.py" in str(own.unproven)
    (defect,) = own.defects
    # Not disproven: it could not be tried.
    assert (defect.proven, str(defect.why)[:6]) == (None, "stale:")
    assert report.missing_proofs is None
    assert verify(project.directory, Expected()).flaws == []

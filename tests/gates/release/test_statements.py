"""What is attested says no more than what was shown."""

from pathlib import Path

import msgspec
import pytest

from gates.release.conclude import conclude
from gates.release.statements import STATEMENT, TEST_RESULT
from tests.builders.small_release import RELEASE, SmallRelease
from tests.gates.conftest import Made

Json = dict[str, object]


def attested(directory: Path) -> tuple[Json, Json]:
    """The predicate of what is attested, and the verdict in it."""
    statement = msgspec.json.decode((directory / "attestation.json").read_bytes(), type=Json)
    assert (statement["_type"], statement["predicateType"]) == (STATEMENT, TEST_RESULT)
    predicate = statement["predicate"]
    assert isinstance(predicate, dict)
    verdict = predicate["sonia_releaseVerdict"]
    assert isinstance(verdict, dict)
    return predicate, verdict


def subject(directory: Path) -> list[Json]:
    statement = msgspec.json.decode((directory / "attestation.json").read_bytes())
    return list(statement["subject"])


def test_of_a_release_that_was_promoted(made: Made) -> None:
    predicate, verdict = attested(made.directory)
    source, wheel = subject(made.directory)
    assert source == {"name": "source", "digest": {"gitCommit": made.commit}}
    assert wheel["name"] == "shop-1.0-py2.py3-none-any.whl"
    assert set(predicate) == {
        "result",
        "configuration",
        "passedTests",
        "warnedTests",
        "failedTests",
        "sonia_releaseVerdict",
    }
    assert predicate["result"] == "PASSED"
    assert predicate["failedTests"] == []
    assert verdict["verdict"] == "PROMOTE" and verdict["unproven"] == []


def test_there_is_one_attestation_of_one_verdict(made: Made) -> None:
    assert sorted(path.name for path in made.directory.glob("attestation*")) == [
        "attestation.intoto.jsonl",
        "attestation.json",
    ]


def test_specs_without_a_release_ask_for_no_proofs_and_say_no_two_things(tmp_path: Path) -> None:
    project = SmallRelease(tmp_path / "shop", {"specs/release.yaml": RELEASE})
    (project.specs / "release.yaml").unlink()
    session, specs = project.session()
    for name in session.gates:
        project.record(session.gate_directory(name, 0), session, specs, specs.gates[name], 200)
    report, directory = conclude(session, project.releases, interrupted=False)
    predicate, verdict = attested(directory)
    assert (report.verdict, verdict["verdict"], predicate["result"]) == (
        "PROMOTE",
        "PROMOTE",
        "PASSED",
    )
    assert predicate["failedTests"] == []


@pytest.mark.parametrize("sort", ["failed", "unproven", "missing"])
def test_what_is_not_shown_has_failed(tmp_path: Path, sort: str) -> None:
    project = SmallRelease(
        tmp_path / "shop", {"specs/gates/a/first.yaml": None} if sort == "missing" else None
    )
    project.release(
        lambda gate: 500 if sort == "failed" and gate == "first" else 200, prove=sort != "unproven"
    )
    predicate, verdict = attested(project.directory)
    assert (predicate["result"], verdict["verdict"]) == ("FAILED", "HOLD")
    assert "A1 first" in predicate["failedTests"]  # type: ignore[operator]


def test_uncommitted_source_and_no_wheel_name_the_evidence_alone(tmp_path: Path) -> None:
    release = RELEASE.replace(
        "  - {id: committed, statement: All is committed, check: clean-source}\n", ""
    )
    project = SmallRelease(tmp_path / "shop", {"specs/release.yaml": release})
    (project.root / "shop/more.py").write_text("")
    (project.root / "pyproject.toml").write_text("[project]\n")
    report = project.release()
    assert report.dirty
    (only,) = subject(project.directory)
    assert only["name"] == "manifest.json"
    wheel = attested(project.directory)[1]["wheel"]
    assert isinstance(wheel, dict)
    assert "the build failed" in wheel["why"]
    assert wheel["is_running_code"] is False

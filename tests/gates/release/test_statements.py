"""What is attested says no more than what was shown."""

from pathlib import Path

import msgspec
import pytest

from gates.release.statements import STATEMENT, TEST_RESULT, VERDICT
from tests.builders.small_release import RELEASE, SmallRelease
from tests.gates.conftest import Made

Json = dict[str, object]


def statements(directory: Path) -> tuple[Json, Json]:
    names = ("attestation.json", "attestation-verdict.json")
    first, second = (msgspec.json.decode((directory / n).read_bytes(), type=Json) for n in names)
    return first, second


def test_of_a_release_that_was_promoted(made: Made) -> None:
    test_result, verdict = statements(made.directory)
    assert test_result["_type"] == verdict["_type"] == STATEMENT
    assert (test_result["predicateType"], verdict["predicateType"]) == (TEST_RESULT, VERDICT)
    source, wheel = test_result["subject"]  # type: ignore[misc]
    assert source == {"name": "source", "digest": {"gitCommit": made.commit}}
    assert wheel["name"] == "shop-1.0-py2.py3-none-any.whl"
    assert test_result["subject"] == verdict["subject"]
    predicate = test_result["predicate"]
    assert isinstance(predicate, dict)
    assert set(predicate) == {
        "result",
        "configuration",
        "passedTests",
        "warnedTests",
        "failedTests",
    }
    assert predicate["result"] == "PASSED"
    assert predicate["failedTests"] == []
    own = verdict["predicate"]
    assert isinstance(own, dict)
    assert own["verdict"] == "PROMOTE" and own["unproven"] == []


@pytest.mark.parametrize("sort", ["failed", "unproven", "missing"])
def test_what_is_not_shown_has_failed(tmp_path: Path, sort: str) -> None:
    project = SmallRelease(
        tmp_path / "shop", {"specs/gates/a/first.yaml": None} if sort == "missing" else None
    )
    project.release(
        lambda gate: 500 if sort == "failed" and gate == "first" else 200, prove=sort != "unproven"
    )
    test_result, verdict = statements(project.directory)
    predicate = test_result["predicate"]
    assert isinstance(predicate, dict)
    assert predicate["result"] == "FAILED"
    assert "A1 first" in predicate["failedTests"]
    own = verdict["predicate"]
    assert isinstance(own, dict)
    assert own["verdict"] == "HOLD"


def test_uncommitted_source_and_no_wheel_name_the_evidence_alone(tmp_path: Path) -> None:
    release = RELEASE.replace(
        "  - {id: committed, statement: All is committed, check: clean-source}\n", ""
    )
    project = SmallRelease(tmp_path / "shop", {"specs/release.yaml": release})
    (project.root / "shop/more.py").write_text("")
    (project.root / "pyproject.toml").write_text("[project]\n")
    report = project.release()
    assert report.dirty
    test_result, verdict = statements(project.directory)
    (subject,) = test_result["subject"]  # type: ignore[misc]
    assert subject["name"] == "manifest.json"
    own = verdict["predicate"]
    assert isinstance(own, dict)
    assert "the build failed" in own["wheel"]["why"]
    assert own["wheel"]["is_running_code"] is False

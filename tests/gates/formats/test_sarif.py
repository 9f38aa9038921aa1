"""SARIF: what the standard asks for, and what viewers need to place and track a result."""

import json
from pathlib import Path

import msgspec
import pytest

from gates.formats import sarif
from gates.formats.places import At, Places
from gates.release.report import Report
from tests.gates.html.releases import hostile_release, release

PLACES = Places(
    At("specs/release.yaml", 1),
    {"demo": At("specs/gates/demo.yaml", 1)},
    {("demo", "everything is answered soon"): At("specs/gates/demo.yaml", 42)},
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return release(tmp_path_factory.mktemp("release"))[1]


def run_of(report: Report) -> dict[str, object]:
    log = json.loads(sarif.render(report, PLACES, "1.2.3"))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert isinstance(run, dict)
    return run


def results(report: Report) -> list[dict[str, object]]:
    found = run_of(report)["results"]
    assert isinstance(found, list)
    return found


def test_every_result_names_its_rule_and_its_place(report: Report) -> None:
    run = run_of(report)
    rules = run["tool"]["driver"]["rules"]  # type: ignore[index]
    for result in results(report):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]  # type: ignore[index]
        assert result["message"]["text"]  # type: ignore[index]
        (location,) = result["locations"]  # type: ignore[misc]
        physical = location["physicalLocation"]  # type: ignore[index]
        assert physical["region"]["startLine"] >= 1  # type: ignore[index]
        uri = physical["artifactLocation"]["uri"]  # type: ignore[index]
        assert not uri.startswith("/")


def test_failures_are_errors_and_what_was_not_measured_are_warnings(report: Report) -> None:
    found = [(result["ruleId"], result["level"]) for result in results(report)]
    assert found == [
        ("F01", "warning"),
        ("C4", "error"),
        ("B1", "warning"),
        ("invariant/complete", "warning"),
        ("invariant/committed", "error"),
    ]


def test_an_assertion_keeps_its_fingerprint_whatever_it_measures(report: Report) -> None:
    gate = report.gates[1]
    worse = [
        msgspec.structs.replace(own, violating=1, why="other", at_least=5)
        for own in gate.assertions
    ]
    gates = [report.gates[0], msgspec.structs.replace(gate, assertions=worse), report.gates[2]]
    again = msgspec.structs.replace(report, gates=gates)
    prints = [[result["partialFingerprints"] for result in results(one)] for one in (report, again)]
    assert prints[0] == prints[1]
    assert len({json.dumps(one) for one in prints[0]}) == len(prints[0])


def test_it_says_how_the_run_ended(report: Report) -> None:
    run = run_of(report)
    (invocation,) = run["invocations"]  # type: ignore[misc]
    assert invocation == {  # type: ignore[comparison-overlap]
        "executionSuccessful": True,
        "exitCode": 1,
        "startTimeUtc": "2026-01-02T03:04:05Z",
    }
    assert run["properties"]["verdict"] == "HOLD"  # type: ignore[index]
    assert run["tool"]["driver"]["semanticVersion"] == "1.2.3"  # type: ignore[index]


def test_an_unknown_version_is_left_out(report: Report) -> None:
    log = json.loads(sarif.render(report, PLACES, None))
    assert "semanticVersion" not in log["runs"][0]["tool"]["driver"]


def test_hostile_texts_are_json(tmp_path: Path) -> None:
    assert results(hostile_release(tmp_path)[1])

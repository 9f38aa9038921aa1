"""Whatever is wrong with a spec is said with its place, before anything is started, and is exit code 3."""

import pytest

from gates.cli import main
from gates.release.report import EXIT_BROKEN, EXIT_PROMOTE, EXIT_SPEC
from tests.e2e.conftest import Project

GATE, TARGET = "gates/late.yaml", "targets/files.yaml"

# What is changed in which file, into what, and what is then said.
WRONG = {
    "unknown key": (GATE, "class:", "clas:", "unknown key 'clas'", "did you mean 'class'?"),
    "unknown key of a step": (GATE, "rate:", "rat:", "unknown key 'rat' in a load", "'rate'?"),
    "misspelt attribute": (GATE, "delay:", "dely:", "unknown key 'dely'", "'delay'?"),
    "wrong type": (GATE, "at_least: 20", "at_least: many", "expected a whole number", "'many'"),
    "wrong unit": (GATE, "1500ms", "1500", "something like 250ms", "1500"),
    "duplicate key": (GATE, "id: G1", "id: G1\nid: G2", "duplicate key 'id'", ":4:1"),
    "unknown kind of step": (GATE, "load:", "lod:", "unknown kind of step 'lod'", "'load'?"),
    "unknown link": (GATE, "via: client->web", "via: client->wb", "unknown link", "'client->web'?"),
    "unknown process": (
        GATE,
        "control:",
        "control:\n  - kill: wb",
        "unknown process 'wb'",
        "'web'?",
    ),
    "unknown actor": (
        GATE,
        "    rate",
        "    as: sombody\n    rate",
        "unknown actor",
        "'somebody'?",
    ),
    "unknown capture": (GATE, "send: {get: /}", 'send: {get: "/{found}"}', "'found'", "variable"),
    "unknown fault": (GATE, "clear: slow", "clear: slo", "no fault named 'slo'", "'slow'?"),
    "unknown target": (GATE, "target: files", "target: fils", "unknown target", "'files'?"),
    "unreadable place": (
        GATE,
        "    rate",
        "    capture: {x: id}\n    rate",
        "starts with $",
        "'id'",
    ),
    "comparator": (
        GATE,
        "every: status = 200",
        "is: half\n    share: status = 200",
        "'half'",
        "< 5",
    ),
    "SQL that does not parse": (
        GATE,
        "status = 200 and",
        "status = = 200 and",
        "syntax error",
        "^",
    ),
    "SQL that does not bind": (
        GATE,
        "service_ms",
        "servce_ms",
        "did you mean 'service_ms'?",
        "service_ms",
    ),
    "unknown table": (GATE, "from: requests", "from: request", "no table request", "'requests'?"),
    "nothing kills it": (GATE, "    killed_by_sham: true", "", "no defect in", "killed_by_sham"),
    "nothing is expected to be seen": (
        GATE,
        "{status: 200}",
        "{exit: 0}",
        "does not observe",
        "'exit'",
    ),
    "a load of nothing": (GATE, "for: 1500ms", "for: 0ms", "not a single request", "load: calls"),
    "unknown process of a link": (TARGET, "to: web", "to: wb", "unknown process 'wb'", "'web'?"),
    "unknown port": (
        TARGET,
        "{port.web}",
        "{port.wb}",
        "unknown variable 'port.wb'",
        "'port.web'?",
    ),
    "unknown way of being ready": (TARGET, "GET /", "get", "GET /readyz", "'get'"),
    "link of the exercise": (
        TARGET,
        "via: client->web",
        "via: client",
        "unknown link 'client'",
        "^",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_its_place(
    case: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    file, old, new, *said = WRONG[case]
    project.change(file, old, new)
    code = main(
        [
            "--specs",
            str(project.directory / "specs"),
            "run",
            "--runs",
            str(project.directory / "runs"),
        ]
    )
    printed = capsys.readouterr().out
    assert code == EXIT_SPEC
    assert f"{file}:" in printed
    for text in said:
        assert text in printed
    assert "nothing was run" in printed
    assert not (project.directory / "runs").exists()


def test_all_errors_come_in_one_pass(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.change(GATE, "clear: slow", "clear: slo")
    project.change(GATE, "service_ms", "servce_ms")
    project.change(TARGET, "to: web", "to: wb")
    assert main(["lint", "--specs", str(project.directory / "specs")]) == EXIT_SPEC
    printed = capsys.readouterr().out
    for text in ("'slo'", "servce_ms", "'wb'"):
        assert text in printed


def test_a_gate_that_is_none_and_a_file_that_is_missing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = str(project.directory / "specs")
    assert main(["--specs", specs, "run", "G9"]) == EXIT_BROKEN
    assert "'G9' is not a gate" in capsys.readouterr().out
    assert main(["--specs", specs, "lint", "nowhere.yaml"]) == EXIT_SPEC
    assert "there is no such file" in capsys.readouterr().out
    assert main(["--specs", "nowhere", "lint"]) == EXIT_SPEC
    assert "no such directory of specs" in capsys.readouterr().out
    assert main(["judge", "nowhere"]) == EXIT_BROKEN
    assert "cannot read nowhere" in capsys.readouterr().out


def test_a_sound_project_has_no_problems(project: Project) -> None:
    assert main(["--specs", str(project.directory / "specs"), "lint"]) == EXIT_PROMOTE

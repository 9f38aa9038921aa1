"""Specs that somebody would like to get away with: none of them is run, or what is run does not pass.

Each case below `cases` says what comes of it: `exit 3` and what is said, or the status that it is judged with over
a run in which everything went well.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.errors import Problem, errors_among
from chaos.evidence.sealing import Loader
from chaos.faults import SIGNATURES
from gates.cli import main
from gates.judge import connection
from gates.judge.connection import Evidence
from gates.lint.gate import lint
from gates.release.report import EXIT_SPEC
from gates.spec.project import Project, read_project
from gates.spec.snapshot import judged_of
from tests.builders.small_project import FILES, write_project
from tests.gates.judge.runs import Run, verdict_of
from tests.specs.patches import ALL, BASES, BY_NAME, GATE, Case, patched

COLLECTED = {"orders": {"id": "BIGINT"}}
REFUSED = [case for case in ALL if case.outcome == "exit 3"]
JUDGED = [case for case in ALL if case.outcome != "exit 3"]


def name_of(case: Case) -> str:
    return case.name


def written(case: Case, root: Path) -> Path:
    return write_project(root, {case.stands_for: case.text})


def complete(problem: Problem) -> bool:
    """Whether a problem names its file and a place in it."""
    return problem.file.endswith(".yaml") and problem.line >= 1 and problem.column >= 1


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_refused_with_its_place(case: Case, tmp_path: Path) -> None:
    found = errors_among(lint(read_project(written(case, tmp_path))))
    assert any(case.said in problem.message for problem in found), found
    assert all(map(complete, found))


@pytest.fixture(scope="module")
def all_well(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A run of the gate in which every request was answered as it should be."""
    root = tmp_path_factory.mktemp("runs")
    evidence = connection.open_blank(COLLECTED, [root])
    directory = Run(root, gate="first").plain(20).close()
    Loader(evidence.connection, COLLECTED).load([directory])
    evidence.refresh()
    return evidence


@pytest.mark.parametrize("case", JUDGED, ids=name_of)
def test_not_passed(case: Case, tmp_path: Path, all_well: Evidence) -> None:
    project = read_project(written(case, tmp_path))
    assert errors_among(lint(project)) == []
    assert_outcome(project, all_well, case)


def assert_outcome(project: Project, evidence: Evidence, case: Case) -> None:
    judged = judged_of(project.gates["first"], project.targets["shop"])
    # The run is of none of these versions in particular.
    changed = {name: getattr(judged, name) for name in judged.__struct_fields__}
    verdict = verdict_of(evidence, type(judged)(**changed | {"spec_sha256": ""}), SIGNATURES)
    assert verdict.status == case.outcome
    assert case.said in verdict.detail


def test_the_run_they_are_judged_over_passes_otherwise(tmp_path: Path, all_well: Evidence) -> None:
    """Else none of the cases would have shown anything."""
    text = BASES[GATE]
    project = read_project(write_project(tmp_path, {GATE: text}))
    assert errors_among(lint(project)) == []
    assert_outcome(project, all_well, Case("", "PASS", "1 assertions hold", GATE, text))


@pytest.mark.parametrize(
    "name", ["assertions/none-at-all", "sql/random", "faults/misspelt-attribute", "yaml/tabs"]
)
def test_the_command_refuses_to_run_it(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = BY_NAME[name]
    specs, runs = written(case, tmp_path), tmp_path / "runs"
    code = main(["--specs", str(specs), "run", "--runs", str(runs), "--releases", str(runs)])
    out, err = capfd.readouterr()
    assert code == EXIT_SPEC
    assert case.said.split("'")[0] in " ".join((out + err).split())
    assert not runs.exists()


def bytes_that_are_no_text(root: Path) -> None:
    (root / GATE).write_bytes(b"gate: first\ntitle: \xff\xfe\n")


def a_null_byte(root: Path) -> None:
    (root / GATE).write_bytes(FILES[GATE].encode() + b"title2: a\x00b\n")


def utf_16(root: Path) -> None:
    (root / GATE).write_bytes(FILES[GATE].encode("utf-16"))


def nothing(root: Path) -> None:
    (root / GATE).write_bytes(b"")


def ten_megabytes(root: Path) -> None:
    (root / GATE).write_bytes(FILES[GATE].encode() + b"x: [" + b"1, " * 3_500_000 + b"1]\n")


def ten_megabytes_of_one_text(root: Path) -> None:
    (root / GATE).write_bytes(FILES[GATE].encode() + b"x: " + b"y" * 10_000_000 + b"\n")


def ten_thousand_brackets(root: Path) -> None:
    (root / GATE).write_bytes(FILES[GATE].encode() + b"x: " + b"[" * 10_000 + b"\n")


def a_link_to_itself(root: Path) -> None:
    (root / GATE).unlink()
    (root / GATE).symlink_to(root / GATE)


def a_link_to_nowhere(root: Path) -> None:
    (root / GATE).unlink()
    (root / GATE).symlink_to(root / "gone.yaml")


def a_directory(root: Path) -> None:
    (root / GATE).unlink()
    (root / GATE).mkdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (bytes_that_are_no_text, "it is not UTF-8"),
        (a_null_byte, "this character is not allowed in YAML"),
        (utf_16, "it is not UTF-8"),
        (nothing, "the file is empty"),
        (ten_megabytes, "larger than"),
        (ten_megabytes_of_one_text, "larger than"),
        (ten_thousand_brackets, "deep"),
        (a_link_to_itself, "cannot be read"),
        (a_link_to_nowhere, "cannot be read"),
        (a_directory, "cannot be read"),
    ],
)
def test_files_that_are_none(spoil: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    specs = write_project(tmp_path)
    spoil(tmp_path)
    found = lint(read_project(specs))
    assert any(said in problem.message for problem in found), found
    assert all(map(complete, found))


def test_a_loop_of_folders_ends(tmp_path: Path) -> None:
    specs = write_project(tmp_path)
    (specs / "gates" / "a" / "again").symlink_to(specs / "gates", target_is_directory=True)
    assert lint(read_project(specs)) == []


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    specs = write_project(tmp_path, {GATE: "\ufeff" + FILES[GATE]})
    assert lint(read_project(specs)) == []


def test_a_gate_in_two_files_is_refused(tmp_path: Path) -> None:
    specs = write_project(tmp_path, {"specs/gates/b/first.yaml": FILES[GATE]})
    found = lint(read_project(specs))
    assert any("there is another gate 'first'" in problem.message for problem in found)


def test_scenarios_that_use_each_other_are_refused(tmp_path: Path) -> None:
    loop = {
        "specs/scenarios/restart.yaml": FILES["specs/scenarios/restart.yaml"]
        + "  - use: again\n    with: {process: web}\n",
        "specs/scenarios/again.yaml": "scenario: again\nargs: [process]\nsteps:\n"
        "  - use: restart\n    with: {process: web}\n",
    }
    found = lint(read_project(write_project(tmp_path, loop)))
    assert any("scenario 'restart' uses itself" in problem.message for problem in found)


def test_every_group_of_cases_is_there() -> None:
    assert len(BY_NAME) == len(ALL)
    assert {name.partition("/")[0] for name in BY_NAME} == {
        "assertions", "bounds", "faults", "frame", "judged", "release", "scenario", "sql", "steps", "target", "yaml",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("patch", "after"),
    [
        ("-b\n+x\n", "a\nx\nc\nc\n"),
        (" a\n+x\n", "a\nx\nb\nc\nc\n"),
        ("-a\n@@\n b\n-c\n", "b\nc\n"),
        ("+x\n+\n", "x\n\n"),
    ],
)
def test_a_patch_is_applied_where_it_fits(patch: str, after: str) -> None:
    assert patched("a\nb\nc\nc\n", patch, "it") == after


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("-x\n+y\n", "0 times"),
        ("-c\n+y\n", "2 times"),
        (" b\n", "changes nothing"),
        ("", "changes nothing"),
        ("-b\n?y\n", "a line of no hunk"),
    ],
)
def test_a_patch_that_does_not_fit_once_is_an_error(patch: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        patched("a\nb\nc\nc\n", patch, "it")

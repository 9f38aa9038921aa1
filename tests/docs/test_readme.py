"""What the README says is what the repository does."""

import re
from pathlib import Path

import pytest

from gates.lint.gate import lint
from gates.release.report import EXIT_MEANING
from gates.spec.project import read_project

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SESSIONS = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))


def test_the_two_commands_are_there_as_they_are_meant_to_be_typed() -> None:
    for name in ("gates", "tests"):
        assert f"    pip install nox && nox -s {name} " in README


@pytest.mark.parametrize(
    "document", ["README.md", "docs/tutorial.md", "docs/operating.md", ".ci/run"]
)
def test_every_nox_session_that_is_named_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert set(re.findall(r"nox (?:\d+ )?-s (\w+)", text)) <= SESSIONS


def test_ci_calls_what_the_readme_says() -> None:
    called = re.findall(r"^nox \d+ -s (\w+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert called == ["lint", "tests", "fuzz", "browser", "gates"]
    for name in called:
        assert f"nox -s {name}" in README


def test_exit_codes_are_those_of_the_command() -> None:
    shown = dict(re.findall(r"^\| (\d) \| (\w+)", README, re.MULTILINE))
    assert set(shown) == {str(code) for code in EXIT_MEANING}
    for code, word in shown.items():
        assert word in EXIT_MEANING[int(code)]


def test_as_many_gates_exist_as_it_says() -> None:
    ((there, listed),) = re.findall(r"So far (\d+) of\s+the (\d+) gates", README)
    project = read_project(ROOT / "specs")
    assert project.release is not None
    assert (int(there), int(listed)) == (len(project.gates), len(project.release.gates))


def test_the_gate_that_is_shown_is_sound(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    targets, gates = tmp_path / "specs" / "targets", tmp_path / "specs" / "gates"
    targets.mkdir(parents=True)
    gates.mkdir()
    (targets / "sonia.yaml").write_bytes((ROOT / "specs" / "targets" / "sonia.yaml").read_bytes())
    (gates / "memory-away.yaml").write_text(shown, encoding="utf-8")
    assert lint(read_project(tmp_path / "specs")) == []


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    picture = (ROOT / "docs" / "report.svg").read_text(encoding="utf-8")
    assert "@font-face" not in picture
    assert re.findall(r"https?://(?!www\.w3\.org/)\S+", picture) == []


def test_the_examples_are_sound_and_no_line_of_what_they_gate_is_ours() -> None:
    project = read_project(ROOT / "specs" / "examples")
    assert lint(project) == []
    assert len(project.gates) == 3
    assert [target.source for target in project.targets.values()] == [[]]

"""Whatever file is named is linted, or it is said why not: nothing that nobody reads has no problems."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gates.cli import main
from gates.release.report import EXIT_BROKEN, EXIT_PROMOTE, EXIT_SPEC
from gates.run.session import Options
from gates.run.sound import sound_project
from tests.builders.small_project import write_project

GATE = "specs/gates/a/first.yaml"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path, {"pyproject.toml": ""})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def lint(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def linted(*paths: str) -> tuple[int, str]:
        code = main(["lint", *paths])
        return code, capsys.readouterr().out

    return linted


def test_what_is_right_has_no_problems(lint: Callable[..., tuple[int, str]]) -> None:
    for paths in ([], [GATE], ["specs"], ["specs/gates/a"], ["specs/release.yaml"]):
        code, said = lint(*paths)
        assert (code, said.endswith("no problems\n")) == (EXIT_PROMOTE, True), said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/passwd", "it is not read: specs are release.yaml and the .yaml files below"),
        ("specs/gates/a/more.yml", "it is not read: the names of specs end in .yaml"),
        ("x.yml", "it is not read"),
        ("specs/notes.txt", "it is not read"),
        ("notes.yaml", "it is no spec: one has the key gate, release, scenario or target"),
        ("list.yaml", "list.yaml:1:1: expected a mapping"),
        ("broken.yaml", "broken.yaml:2:1:"),
        ("empty", "there are no specs in it"),
        ("nowhere.yaml", "there is no such file"),
        ("/dev/null", "it is no file"),
    ],
)
def test_what_nobody_reads_is_said(
    project: Path, lint: Callable[..., tuple[int, str]], path: str, said: str
) -> None:
    for name, text in (
        ("specs/gates/a/more.yml", "gate: more\n"),
        ("x.yml", "gate: x\n"),
        ("specs/notes.txt", ""),
        ("notes.yaml", "a: 1\n"),
        ("list.yaml", "- 1\n"),
        ("broken.yaml", "a: [\n"),
    ):
        if name == path:
            (project / name).write_text(text)
    (project / "empty").mkdir()
    code, printed = lint(path)
    assert code == EXIT_SPEC
    assert said in printed, printed


def test_a_spec_that_is_not_read_for_its_name_is_a_problem_of_the_project(
    project: Path, lint: Callable[..., tuple[int, str]]
) -> None:
    for folder in ("gates/a", "targets", "scenarios"):
        (project / "specs" / folder).mkdir(exist_ok=True)
        (project / "specs" / folder / "x.yml").write_text("")
    code, said = lint()
    assert code == EXIT_SPEC
    assert said.count("it is not read") == 3


def test_a_gate_outside_of_the_specs_is_linted_with_them(
    project: Path, lint: Callable[..., tuple[int, str]]
) -> None:
    text = (
        (project / GATE)
        .read_text()
        .replace("gate: first", "gate: third")
        .replace("id: A1", "id: A3")
    )
    (project / "third.yaml").write_text(text.replace("target: shop", "target: shp"))
    code, said = lint("third.yaml")
    assert code == EXIT_SPEC
    assert "third.yaml:" in said and "did you mean 'shop'?" in said
    (project / "third.yaml").write_text(text.replace("title:", "titel:"))
    assert "unknown key 'titel'" in lint("third.yaml")[1]
    (project / "shop.yaml").write_text("target: shop\nprocessses: {}\n")
    assert "did you mean 'processes'?" in lint("shop.yaml")[1]


def test_problems_below_a_folder(project: Path, lint: Callable[..., tuple[int, str]]) -> None:
    (project / GATE).write_text("gate: first\n")
    assert lint("specs/gates")[0] == EXIT_SPEC
    assert lint(GATE)[0] == EXIT_SPEC
    assert lint("specs/targets")[0] == EXIT_PROMOTE


@pytest.mark.parametrize("command", ["run", "prove", "mutants", "explain"])
@pytest.mark.parametrize("name", ["first", "A1"])
def test_a_gate_that_cannot_be_read_is_a_spec_that_is_wrong(
    project: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    (project / GATE).write_text((project / GATE).read_text() + "\nassert: [\n")
    assert main([command, name]) == EXIT_SPEC
    said = capsys.readouterr().out
    assert f"{GATE}:" in said and "is not a gate" not in said


def test_what_is_no_gate_is_none(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "third"]) == EXIT_BROKEN
    assert "'third' is not a gate" in capsys.readouterr().out


def test_what_no_file_is_named_like_may_be_in_any_that_cannot_be_read(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / GATE).write_text("gate: [\n")
    assert main(["run", "A9"]) == EXIT_SPEC
    assert f"{GATE}:2:1" in capsys.readouterr().out


def test_a_gate_that_cannot_be_read_stops_no_other(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / GATE).write_text("gate: [\n")
    options = Options(specs=str(project / "specs"), only=("second",))
    assert sound_project(options).gate_by("second") == "second"

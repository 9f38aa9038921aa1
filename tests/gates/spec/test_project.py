"""All specs are read together, and everything that is wrong with them is said in one pass."""

from pathlib import Path

import pytest

from chaos.errors import SpecError
from chaos.steps.kill import Kill
from chaos.steps.repeat import Repeat
from chaos.steps.start import Start
from chaos.steps.use import Use
from gates.spec.mapping import map_steps
from gates.spec.project import read_project
from tests.builders.small_project import GATE, SCENARIO, SECOND, TARGET, project, write_project

FIRST = "specs/gates/a/first.yaml"
SECOND_FILE = "specs/gates/second.yaml"
RESTART = "specs/scenarios/restart.yaml"


def said(root: Path, changes: dict[str, str | None]) -> list[str]:
    found = project(root, changes).problems
    return [f"{Path(p.file).name}:{p.line}:{p.column}: {p.message}" for p in found]


def test_a_project_that_is_right_is_read_whole(tmp_path: Path) -> None:
    read = project(tmp_path)
    read.raise_problems()
    assert set(read.gates) == {"first", "second"}
    assert set(read.targets) == {"shop"}
    assert read.release is not None
    assert read.root == tmp_path
    assert [read.gate_by(name) for name in ("first", "A2", "A9")] == ["first", "second", None]
    use = read.gates["first"].scenario[3]
    assert isinstance(use, Use)
    assert use.steps == [Kill(kill="web"), Start(start="web")]


def test_without_a_project_file_the_root_is_beside_the_specs(tmp_path: Path) -> None:
    assert project(tmp_path / "a", {"pyproject.toml": None}).root == tmp_path / "a"


def test_errors_of_all_files_are_said_together(tmp_path: Path) -> None:
    changes: dict[str, str | None] = {
        FIRST: GATE.replace("title: t", "titel: t").replace("class: delta", "class: del"),
        SECOND_FILE: SECOND.replace("id: A2", "id: 5"),
        "specs/targets/shop.yaml": TARGET.replace("port: 8000", "port: many"),
        "specs/release.yaml": "release: [",
        RESTART: None,
    }
    found = said(tmp_path, changes)
    assert {line.partition(":")[0] for line in found} == {
        "first.yaml",
        "second.yaml",
        "shop.yaml",
        "release.yaml",
    }
    assert "first.yaml:3:8: expected one of floor, delta, got the text 'del'" in found
    assert "first.yaml:5:1: unknown key 'titel' in a gate" in found
    assert "second.yaml:2:5: expected a text, got 5" in found
    with pytest.raises(SpecError, match=r"second.yaml:2:5"):
        read_project(tmp_path / "specs").raise_problems()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {FIRST: GATE.replace("gate: first", "gate: frist")},
            "first.yaml:1:7: gate 'frist' must be named like its file, 'first'",
        ),
        (
            {"specs/targets/shop.yaml": TARGET.replace("target: shop", "target: stop", 1)},
            "shop.yaml:1:9: target 'stop' must be named like its file, 'shop'",
        ),
        (
            {"specs/gates/b/first.yaml": GATE.replace("id: A1", "id: A9")},
            "first.yaml:1:7: there is another gate 'first' in ",
        ),
        (
            {SECOND_FILE: SECOND.replace("id: A2", "id: A1")},
            "second.yaml:2:5: gate 'first' has the id 'A1' already",
        ),
        (
            {FIRST: GATE.replace("use: restart", "use: restrat")},
            "first.yaml:32:10: unknown scenario 'restrat'",
        ),
        (
            {FIRST: GATE.replace("with: {process: web}", "with: {proces: web}")},
            "first.yaml:32:10: scenario 'restart' takes `with` for process",
        ),
        (
            {
                FIRST: GATE.replace(
                    "    with: {process: web}\n",
                    "    with: {process: web}\n    steps: [{pause: 1s}]\n",
                )
            },
            "first.yaml:32:10: the `steps` of a `use` come from its scenario's file",
        ),
        (
            {
                RESTART: SCENARIO + "  - use: again\n",
                "specs/scenarios/again.yaml": "scenario: again\nsteps: [{use: restart, with: {process: web}}]\n",
            },
            "first.yaml:32:5: scenario 'restart' uses itself",
        ),
        (
            {RESTART: SCENARIO + "  - use: nowhere\n"},
            "first.yaml:32:5: in scenario 'restart': unknown scenario 'nowhere'",
        ),
        (
            {
                FIRST: GATE.replace(
                    "    with: {process: web}\n", "    with: {process: web}\n    gives: [x]\n"
                )
            },
            "first.yaml:32:10: the `gives` of a `use` come from its scenario's file",
        ),
        (
            {RESTART: SCENARIO.replace("steps:", "gives: [sesion]\nsteps:")},
            "restart.yaml:3:9: scenario 'restart' gives 'sesion', which no step of it captures",
        ),
        (
            {RESTART: SCENARIO.replace("args: [process]\n", "")},
            "first.yaml:32:10: scenario 'restart' takes no `with`",
        ),
    ],
)
def test_what_only_shows_across_files(
    tmp_path: Path, changes: dict[str, str | None], problem: str
) -> None:
    found = said(tmp_path, changes)
    assert [line for line in found if line.startswith(problem)] == found


def test_a_scenario_may_use_another_one(tmp_path: Path) -> None:
    changes: dict[str, str | None] = {
        RESTART: SCENARIO + "  - repeat: 2\n    steps: [{use: inner}]\n",
        "specs/scenarios/inner.yaml": "scenario: inner\nsteps: [{pause: 1s}]\n",
    }
    read = project(tmp_path, changes)
    read.raise_problems()
    outer = read.gates["first"].scenario[3]
    assert isinstance(outer, Use)
    repeat = outer.steps[2]
    assert isinstance(repeat, Repeat)
    inner = repeat.steps[0]
    assert isinstance(inner, Use)
    assert len(inner.steps) == 1


GIVING = """\
scenario: giving
gives: [direct, inside, given, {name}]
steps:
  - request: {{get: /a}}
    capture: {{direct: $.a}}
  - parallel: [[{{request: {{get: /b}}, capture: {{inside: $.b}}}}], [{{pause: 1s}}]]
  - use: inner
  - repeat: 2
    steps: [{{request: {{get: /c}}, capture: {{repeated: $.c}}}}]
"""


@pytest.mark.parametrize("name", ["direct", "repeated", "kept"])
def test_a_scenario_gives_what_is_set_when_it_ends(name: str, tmp_path: Path) -> None:
    inner = "scenario: inner\ngives: [given]\nsteps: [{request: {get: /}, capture: {given: $.g, kept: $.k}}]\n"
    changes: dict[str, str | None] = {
        "specs/scenarios/giving.yaml": GIVING.format(name=name),
        "specs/scenarios/inner.yaml": inner,
        FIRST: GATE.replace("use: restart\n    with: {process: web}", "use: giving"),
    }
    problem = f"giving.yaml:2:32: scenario 'giving' gives {name!r}, which no step of it captures"
    assert said(tmp_path, changes) == ([] if name == "direct" else [problem])
    use = project(tmp_path, changes).gates["first"].scenario[3]
    assert isinstance(use, Use)
    assert use.gives == ["direct", "inside", "given", name]


def test_a_hint_for_what_was_meant(tmp_path: Path) -> None:
    (problem,) = project(tmp_path, {FIRST: GATE.replace("use: restart", "use: restrat")}).problems
    assert problem.hint == "restart"
    assert problem.source == "  - use: restrat"


def test_a_directory_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = read_project(tmp_path / "nowhere").problems
    assert problem.message == "there is no such directory of specs"


def test_files_are_named_as_they_are_seen_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path, {SECOND_FILE: SECOND.replace("id: A2", "id: A1")})
    monkeypatch.chdir(tmp_path)
    (problem,) = read_project(Path("specs")).problems
    assert problem.file == SECOND_FILE


def test_steps_are_changed_from_the_inside_out(tmp_path: Path) -> None:
    seen = []
    steps = project(tmp_path).gates["first"].scenario
    same = map_steps(steps, ("scenario",), lambda step, path: (seen.append(path), step)[1])
    assert same == steps
    assert seen[:3] == [("scenario", 0), ("scenario", 1, "steps", 0), ("scenario", 1)]
    assert ("scenario", 2, "meanwhile", 1) in seen

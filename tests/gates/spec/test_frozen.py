"""What a session froze is what its workers run, whatever becomes of the files."""

from pathlib import Path

import pytest

from chaos.errors import HarnessError
from gates.run.session import Options, open_session, plan_of, project_of
from gates.spec.frozen import FrozenProject, freeze, thawed
from gates.spec.project import Project, read_project

ROOT = Path(__file__).parents[3]


def frozen(project: Project, directory: Path, gates: list[str]) -> FrozenProject:
    freeze(directory, project, gates)
    files = {name: str(project.files[name].relative_to(project.specs)) for name in gates}
    return FrozenProject(directory, files)


@pytest.mark.parametrize("specs", ["specs", "specs/examples"])
def test_every_gate_and_target_comes_back_with_its_digests(tmp_path: Path, specs: str) -> None:
    project = read_project(ROOT / specs)
    assert project.gates and project.targets
    again = frozen(project, tmp_path, list(project.gates))
    assert again.gates == {}
    for name, gate in project.gates.items():
        assert again.thaw(name) == gate
        assert again.judged(name) == project.judged(name)
    assert again.targets == project.targets
    assert again.release == project.release
    for name in project.targets:
        assert again.target_digest(name) == project.target_digest(name)
    whole = thawed(tmp_path)
    assert (whole.gates, whole.targets) == (project.gates, project.targets)


def test_only_the_gates_that_were_chosen_are_frozen_and_all_that_they_take_from_elsewhere(
    tmp_path: Path,
) -> None:
    data = {"plain": "data/rows.csv", "around": "gates/../data/rows.csv", "linked": "link.csv"}
    listed = ", ".join(f"{name}: {{from: {file}}}" for name, file in data.items())
    specs = write_specs(tmp_path, GATE.replace("target: bare", f"target: bare\ndata: {{{listed}}}"))
    (specs / "gates" / "two.yaml").write_text(GATE.replace("one", "two").replace("E1", "E2"))
    (specs / "data").mkdir()
    (specs / "data" / "rows.csv").write_text("a\n1\n")
    (specs / "link.csv").symlink_to(specs / "data" / "rows.csv")
    project = read_project(specs)
    assert project.problems == []
    again = frozen(project, tmp_path / "session", ["one"])
    for path in (specs / "data" / "rows.csv", specs / "gates" / "one.yaml"):
        path.unlink()
    assert again.thaw("one") == project.gates["one"]
    assert again.thaw("one").data == {name: [{"a": "1"}] for name in data}
    assert list(thawed(tmp_path / "session").gates) == ["one"]


@pytest.mark.parametrize("content", ["", "[]", "{}", "gate: 1", "nonsense: true", "a: ["])
def test_what_is_no_spec_is_refused_with_its_file(tmp_path: Path, content: str) -> None:
    project = read_project(write_specs(tmp_path, GATE))
    freeze(tmp_path, project, ["one"])
    (tmp_path / "specs" / "gates" / "one.yaml").write_text(content)
    with pytest.raises(HarnessError, match=r"cannot read .*one\.yaml: line [12]: "):
        thawed(tmp_path)


def write_specs(directory: Path, gate: str) -> Path:
    specs = (directory / "specs").resolve()
    (specs / "gates").mkdir(parents=True)
    (specs / "targets").mkdir()
    (specs / "targets" / "bare.yaml").write_text(TARGET)
    (specs / "gates" / "one.yaml").write_text(gate)
    return specs


def test_a_gate_that_is_changed_after_the_session_was_opened_is_run_as_it_was(
    tmp_path: Path,
) -> None:
    gates = write_specs(tmp_path, GATE) / "gates"
    session = open_session(Options(specs=str(tmp_path / "specs")), tmp_path / "runs", print)
    (gates / "one.yaml").write_text(GATE.replace("get: /x", "get: /y"))
    project = FrozenProject(session.path, session.frozen)
    plan = plan_of(session, project, project.thaw("one"))
    assert plan.control == tuple(project_of(session.options.specs).gates["one"].control)
    assert plan.digests["gate"] == project.judged("one").spec_sha256


TARGET = """\
target: bare
processes:
  bare: {run: "{python} -m bare {port.bare}", port: 7000, ready: GET /x}
"""
GATE = """\
gate: one
id: E1
class: floor
title: t
why: w
target: bare
control:
  - request: {get: /x}
assert:
  - that: it is answered
    from: requests
    at_least: 1
    every: status = 200
    killed_by_sham: true
"""

"""What a session froze is what its workers run, whatever becomes of the files."""

from pathlib import Path

from gates.run.session import Options, open_session, plan_of, project_of
from gates.spec.frozen import FrozenProject, freeze
from gates.spec.project import read_project
from gates.spec.snapshot import as_written

ROOT = Path(__file__).parents[3]


def test_every_gate_and_target_comes_back_with_its_digests(tmp_path: Path) -> None:
    project = read_project(ROOT / "specs")
    freeze(tmp_path, project, list(project.gates))
    again = FrozenProject(ROOT / "specs", tmp_path)
    assert again.gates == {}
    for name, gate in project.gates.items():
        assert again.thaw(name) == gate
        assert again.judged(name) == project.judged(name)
        assert as_written(again.judged(name)) == as_written(project.judged(name))
        assert as_written(again.thaw(name)) == as_written(gate)
    assert again.targets == project.targets
    assert as_written(again.targets) == as_written(project.targets)
    for name in project.targets:
        assert again.target_digest(name) == project.target_digest(name)
    assert again.root == project.root


def test_a_gate_that_is_changed_after_the_session_was_opened_is_run_as_it_was(
    tmp_path: Path,
) -> None:
    gates = tmp_path / "specs" / "gates"
    targets = tmp_path / "specs" / "targets"
    gates.mkdir(parents=True)
    targets.mkdir()
    (targets / "bare.yaml").write_text(TARGET)
    (gates / "one.yaml").write_text(GATE)
    session = open_session(Options(specs=str(tmp_path / "specs")), tmp_path / "runs", print)
    (gates / "one.yaml").write_text(GATE.replace("get: /x", "get: /y"))
    project = FrozenProject(tmp_path / "specs", session.path)
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

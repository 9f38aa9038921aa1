"""A gate of an incident lints as it comes, asserts what was recorded, and has only defects that the incident meets."""

import json
import shutil
from pathlib import Path

import pytest

from chaos.errors import HarnessError
from gates.incidents.analysis import Limits
from gates.incidents.bundle import open_bundle
from gates.incidents.gate import write_gate
from gates.incidents.packing import pack
from gates.lint.gate import lint
from gates.spec.project import read_project
from tests.builders.incidents import seal

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory of specs in a checkout that has SONIA's source."""
    shutil.copytree(
        ROOT / "service", tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "specs").mkdir()
    return tmp_path / "specs"


def test_a_gate_of_an_incident_lints_and_is_written_once(project: Path, made: Path) -> None:
    for number, name in enumerate(("one", "two"), 1):
        bundle = open_bundle(made / name)
        write_gate(bundle, project, read_project(project), Limits())
        read = read_project(project)
        assert lint(read) == []
        gate = read.gates[f"incident-{name}"]
        assert (gate.id, len(gate.falsified_by), len(gate.assert_)) == (f"I{number}", 2, 2)
        classes = {
            json.loads(line)["trace_class"]
            for line in (made / name / "requests.jsonl").read_bytes().splitlines()
        }
        assert gate.assert_[1].at_least == len(classes)
        with pytest.raises(HarnessError, match="is there already"):
            write_gate(bundle, project, read_project(project), Limits())


def test_what_this_incident_does_not_meet_is_no_defect_of_its_gate(
    project: Path, one: Path
) -> None:
    path = one / "decisions.jsonl"
    rejected = [
        line
        for line in path.read_bytes().splitlines(keepends=True)
        if b'"stage":"authenticate"' in line or b'"stage":"outcome"' in line
    ]
    path.write_bytes(b"".join(rejected))
    seal(one, "{odd}: id", {})
    write_gate(open_bundle(one), project, read_project(project), Limits())
    read = read_project(project)
    assert lint(read) == []
    (defect,) = read.gates["incident-odd-id"].falsified_by
    assert defect.file == "service/replay.py"


def test_what_cannot_be_a_gate_is_told(project: Path, one: Path, tmp_path: Path) -> None:
    pack(open_bundle(one), tmp_path / "packed", Limits())
    with pytest.raises(HarnessError, match="is packed"):
        write_gate(open_bundle(tmp_path / "packed"), project, read_project(project), Limits())
    shutil.rmtree(tmp_path / "service")
    with pytest.raises(HarnessError, match="does not lie in the project"):
        write_gate(open_bundle(one), project, read_project(project), Limits())
    assert list(project.iterdir()) == []

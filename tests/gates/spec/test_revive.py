"""Specs come back from their canonical JSON as they were, and with the same digest."""

from pathlib import Path

import pytest

from chaos.errors import HarnessError
from chaos.spec.target import Target
from gates.spec.gate import Gate
from gates.spec.project import read_project
from gates.spec.revive import read_spec
from gates.spec.snapshot import canonical, sha256_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("specs", ["specs", "specs/examples"])
def test_every_gate_and_target_comes_back(tmp_path: Path, specs: str) -> None:
    project = read_project(ROOT / specs)
    path = tmp_path / "spec.json"
    assert project.gates and project.targets
    for gate in project.gates.values():
        path.write_bytes(canonical(gate))
        again = read_spec(path, Gate)
        assert again == gate
        assert sha256_of(again) == sha256_of(gate)
    for target in project.targets.values():
        path.write_bytes(canonical(target))
        assert read_spec(path, Target) == target


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"gate": 1}', '{"nonsense": true}', '{"target": "x"}']
)
def test_what_is_no_spec(tmp_path: Path, content: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(content)
    for kind in (Gate, Target):
        with pytest.raises(HarnessError, match=r"spec\.json"):
            read_spec(path, kind)

"""Each scenario of bad weather is described, with an example that is right and a picture of what it does."""

import importlib.util
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from chaos.engine.plan import walk
from chaos.steps.use import Use
from gates.lint.gate import lint
from gates.spec.project import read_project

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
PROJECT = read_project(ROOT / "specs")
WEATHER = sorted(
    name for name, scenario in PROJECT.scenarios.items() if isinstance(scenario.file.args, dict)
)
DRAWING = importlib.util.spec_from_file_location(
    "scenarios", ROOT / "scripts" / "docs" / "scenarios.py"
)


def section(name: str) -> str:
    (found,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.parametrize("name", WEATHER)
def test_it_is_described_with_all_of_its_arguments_and_a_picture(name: str) -> None:
    scenario = PROJECT.scenarios[name].file
    text = section(name)
    assert " ".join(text.split()).startswith(scenario.title + ".")
    assert [each for each in scenario.args if each not in PAGE[: PAGE.index("## ")] + text] == []
    (picture,) = re.findall(r"^!\[.{20,}\]\((.*)\)$", text, re.MULTILINE)
    root = ET.fromstring((ROOT / "docs" / picture).read_bytes())
    assert root.get("aria-label", "").startswith("Requests from ")


def test_every_example_is_right_and_uses_what_it_is_an_example_of(tmp_path: Path) -> None:
    assert DRAWING is not None
    assert DRAWING.loader is not None
    drawing = importlib.util.module_from_spec(DRAWING)
    DRAWING.loader.exec_module(drawing)
    specs = tmp_path / "specs"
    specs.mkdir()
    (tmp_path / "pyproject.toml").touch()
    shutil.copytree(ROOT / "service", tmp_path / "service")
    drawing.write_specs(specs)
    project = read_project(specs)
    assert lint(project) == []
    assert sorted(project.gates) == WEATHER
    for name, gate in project.gates.items():
        used = {step.use for _, step in walk(tuple(gate.scenario), "") if isinstance(step, Use)}
        assert used == {name}
    probe = PROJECT.targets["sonia"].links["client->gateway"].probe
    assert probe != project.targets["sonia"].links["client->gateway"].probe

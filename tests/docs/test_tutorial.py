"""The tutorial's files are sound at every point at which they are shown, and its gates do what it says."""

import re
from pathlib import Path

import msgspec
import pytest

from gates.cli import main
from gates.lint.gate import lint
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE, EXIT_UNKNOWN, Report
from gates.spec.project import read_project
from tests.e2e.command import Command

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(?:yaml|python)\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def files() -> list[tuple[str, str]]:
    """Every file that is shown, in order; one that is shown again replaces itself."""
    found = BLOCK.findall(TUTORIAL.read_text(encoding="utf-8"))
    assert len(found) == TUTORIAL.read_text(encoding="utf-8").count("```") // 2
    return [(name, body) for name, body in found]


def write(directory: Path, name: str, body: str) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body, encoding="utf-8")


def test_every_file_is_sound_when_it_is_shown(tmp_path: Path) -> None:
    for name, body in files():
        write(tmp_path, name, body)
        if (tmp_path / "specs").exists():
            assert lint(read_project(tmp_path / "specs")) == []
    assert set(read_project(tmp_path / "specs").gates) == {"slow-link", "lost-link"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The first gate, as a reader has it at the end of section 3."""
    shown = [name for name, _ in files()]
    for name, body in files()[: shown.index("specs/gates/lost-link.yaml")]:
        write(tmp_path, name, body)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def report(directory: Path) -> Report:
    newest = max((directory / "runs").glob("*Z-*"))
    return msgspec.json.decode((newest / "release" / "gate-report.json").read_bytes(), type=Report)


def test_the_first_gate_fails_and_is_unknown_as_the_reader_is_told(shop: Path) -> None:
    gate, command = shop / "specs" / "gates" / "slow-link.yaml", Command(shop)
    assert command.finish("run").exit == EXIT_PROMOTE

    change(gate, "delay: 200ms", "delay: 100ms")
    failed = command.finish("run")
    assert failed.exit == EXIT_FAILED
    assert "rows violating it; first: status=200 service_ms=1" in failed.output
    assert "again: python -m gates run S1" in failed.output

    change(gate, "delay: 100ms", "delay: 200ms")
    change(gate, "at_least: 35", "at_least: 500")
    unknown = command.finish("run")
    assert unknown.exit == EXIT_UNKNOWN
    assert "only 40 of at least 500 rows" in unknown.output
    assert report(shop).gates[0].status == "UNKNOWN"

    newest = max((shop / "runs").glob("*Z-*")) / "release"
    assert command.finish("judge", str(newest)).exit == EXIT_UNKNOWN

    change(gate, "delay: 200ms", "dely: 200ms")
    wrong = command.finish("lint")
    assert wrong.exit == 3
    assert "did you mean 'delay'?" in wrong.output


def test_the_commands_of_the_tutorial_are_commands(tmp_path: Path) -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    commands = set(re.findall(r"python -m gates (\w+)", text))
    assert {"lint", "run", "judge", "explain", "prove"} <= commands
    for name in commands:
        with pytest.raises(SystemExit) as shown:
            main([name, "--help"])
        assert shown.value.code == 0

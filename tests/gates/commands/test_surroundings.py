"""What a terminal cannot show, and what the environment asks of somebody's own tests, changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gates.formats.printing import SafeConsole
from gates.release.report import EXIT_SPEC
from gates.run import tasks
from gates.run.running import gate_runs
from gates.run.session import Options, open_session
from tests.builders.small_project import FILES, write_project

FIRST = "specs/gates/a/first.yaml"


def test_a_terminal_that_knows_ascii_alone_gets_escapes(tmp_path: Path) -> None:
    text = FILES[FIRST].replace("target: shop", "target: 'Zürich ▲ \\e[31m'")
    specs = write_project(tmp_path, {FIRST: text})
    command = [sys.executable, "-m", "gates", "--specs", str(specs), "lint"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=120)
    assert (done.returncode, done.stderr) == (EXIT_SPEC, b"")
    assert b"unknown target 'Z\\xfcrich \\u25b2" in done.stdout


def test_gates_are_run_without_what_the_environment_asks_of_pytest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []

    def main(arguments: list[str], plugins: list[object]) -> pytest.ExitCode:
        seen.extend(name for name in os.environ if name.startswith("PYTEST_"))
        return pytest.ExitCode.OK

    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    monkeypatch.setenv("PYTEST_PLUGINS", "no.such.plugin")
    monkeypatch.setattr(tasks.pytest, "main", main)
    session = open_session(Options(specs=str(write_project(tmp_path, {}))), tmp_path, print)
    assert not tasks.spread(session, gate_runs(session), SafeConsole()).interrupted
    assert "PYTEST_DISABLE_PLUGIN_AUTOLOAD" in seen
    assert not {"PYTEST_ADDOPTS", "PYTEST_PLUGINS"} & set(seen)

"""Whose source a session compiles: only where nothing is left behind that git would tell of."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gates.run.session import Options, Session, open_session
from tests.builders.small_project import write_project

Opener = Callable[[], Session]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    specs = write_project(tmp_path, {})
    (tmp_path / "shop").mkdir(exist_ok=True)
    (tmp_path / "shop" / "app.py").write_text("allowed = 10\n")
    return lambda: open_session(Options(specs=str(specs)), tmp_path / "runs", lambda _: None)


@pytest.mark.parametrize(("ignored", "compiled"), [("__pycache__/\n", True), ("*.log\n", False)])
def test_a_session_compiles_its_target_where_git_ignores_that(
    opened: Opener, tmp_path: Path, ignored: str, compiled: bool
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(ignored)
    first = opened()
    assert bool(list(tmp_path.glob("shop/__pycache__/app.*.pyc"))) is compiled
    assert opened().digests == first.digests


def test_outside_of_git_nothing_is_written_into_the_source(opened: Opener, tmp_path: Path) -> None:
    opened()
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["app.py"]

"""The wheel is what was run, or it is said why not."""

from pathlib import Path

import pytest

from chaos.errors import HarnessError
from gates.release import wheel
from gates.run.session import tree_digest
from tests.builders.small_release import PYPROJECT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, text in {
        "pyproject.toml": PYPROJECT,
        "shop/__init__.py": "",
        "shop/app/b.py": "B = 1\n",
        "shop/app-c.txt": "c",
        "shop/__pycache__/x.pyc": "bytecode",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_two_builds_are_the_same_bytes_and_hold_what_was_run(project: Path, tmp_path: Path) -> None:
    built = []
    for name in ("one", "two"):
        release = tmp_path / name
        release.mkdir()
        build = wheel.build_wheel(project, release)
        assert build.wheel is not None and wheel.build_of(release) == build
        built.append(release / wheel.FOLDER / build.wheel)
    assert built[0].read_bytes() == built[1].read_bytes()
    digest = wheel.source_digest(wheel.contents(built[0]), ["shop"])
    assert digest == tree_digest(project, ["shop"])
    (project / "shop/more.py").write_text("")
    assert digest != tree_digest(project, ["shop"])


def test_what_cannot_be_built(project: Path, tmp_path: Path) -> None:
    (project / "pyproject.toml").write_text("[build-system]\n")
    assert "the build failed" in str(wheel.build_wheel(project, tmp_path).why)
    (project / "pyproject.toml").unlink()
    assert wheel.build_wheel(project, tmp_path).why == "there is no pyproject.toml to build from"


def test_what_is_no_wheel(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_text("no archive")
    with pytest.raises(HarnessError, match=r"x\.whl"):
        wheel.contents(tmp_path / "x.whl")
    with pytest.raises(HarnessError, match="missing"):
        wheel.contents(tmp_path / "missing.whl")
    with pytest.raises(HarnessError, match=r"build\.json"):
        wheel.build_of(tmp_path)

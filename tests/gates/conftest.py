"""One signed release per test process, and copies of it to be tampered with."""

import shutil
from pathlib import Path

import pytest
from msgspec import Struct

from gates.release.rendered import OPTIONAL, RENDERED
from gates.release.signing import make_keys
from tests.builders.opened_once import ONCE
from tests.builders.small_release import PYPROJECT, SmallRelease


class Made(Struct, frozen=True):
    """A release that was promoted, and what is known of it from outside."""

    directory: Path
    commit: str
    private: Path
    public: Path
    project: SmallRelease


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same evidence is neither opened nor judged again: that is most of what it costs to verify a small release."""
    for user, instead in ONCE.items():
        monkeypatch.setattr(user, instead)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("release")
    private = root / "key"
    public, _ = make_keys(private)
    project = SmallRelease(root / "shop", {"pyproject.toml": PYPROJECT}, drawn=True)
    report = project.release(key=private)
    assert report.verdict == "PROMOTE", report.reason
    return Made(project.directory, project.commit, private, public, project)


@pytest.fixture
def drawn(made: Made, tmp_path: Path) -> Path:
    """A copy of the release that a test may spoil, its page included."""
    directory = tmp_path / "v1"
    shutil.copytree(made.directory, directory)
    return directory


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are neither drawn nor compared: that is a third of all that is done with a small release."""
    kept = {name: render for name, render in RENDERED.items() if name not in OPTIONAL}
    monkeypatch.setattr("gates.release.rendered.RENDERED", kept)


@pytest.fixture
def copy(drawn: Path, undrawn: None) -> Path:
    """A copy that a test may spoil, whatever its page says then."""
    return drawn

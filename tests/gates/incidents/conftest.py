"""Two bundles that differ in a few requests, made once."""

import shutil
from pathlib import Path

import pytest

from tests.builders.incidents import write_incident


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the bundles `one` and `two`, which nobody changes."""
    directory = tmp_path_factory.mktemp("incidents")
    write_incident(directory / "one")
    write_incident(directory / "two", broken=50)
    return directory


@pytest.fixture
def one(made: Path, tmp_path: Path) -> Path:
    """A copy of the first, to be damaged."""
    return Path(shutil.copytree(made / "one", tmp_path / "one"))

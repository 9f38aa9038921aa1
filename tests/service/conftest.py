"""A gateway that a module's tests share, for those that need nothing of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.running import Gateway, State, new_state, running


@pytest.fixture
def state(tmp_path: Path) -> State:
    return new_state(tmp_path / "state")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = new_state(tmp_path_factory.mktemp("shared") / "state")
    with running(state) as started:
        yield started

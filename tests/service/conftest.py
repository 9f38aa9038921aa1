"""A gateway, and the whole of SONIA, that a module's tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from service.storage.migrations import migrate
from service.tools.process import CONFINEMENT
from service.tools.shell import missing_for_confinement
from tests.service.running import Gateway, State, new_state, running
from tests.service.stack import Stack, running_stack

# What is there answers in time, however busy the machine; only what is silent takes as long as this.
CONFIGURATION = """
breaker: {open_for_s: 0.1, max_open_for_s: 0.2, probe_every_s: 0.2}
turn: {memory_timeout_s: 2, model_timeout_s: 2}
"""

if missing_for_confinement():
    # Whatever is started here is started all the same, and its commands say how they are confined.
    os.environ[CONFINEMENT] = "not_required"


@pytest.fixture
def state(tmp_path: Path) -> State:
    return new_state(tmp_path / "state")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = new_state(tmp_path_factory.mktemp("shared") / "state")
    with running(state) as started:
        yield started


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole of SONIA."""
    with running_stack(
        new_state(tmp_path_factory.mktemp("stack") / "state", CONFIGURATION)
    ) as started:
        yield started


@pytest.fixture
def connection() -> apsw.Connection:
    """An empty control database in memory, of the newest schema."""
    made = apsw.Connection(":memory:")
    made.pragma("foreign_keys", 1)
    migrate(made, 0)
    return made

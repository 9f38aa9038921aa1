"""The whole of SONIA, shared by the tests of one module."""

from collections.abc import Iterator

import pytest

from tests.service.running import new_state
from tests.service.stack import Stack, running_stack

# What is there answers in time, however busy the machine; only what is silent takes as long as this.
CONFIGURATION = """
breaker: {open_for_s: 0.1, max_open_for_s: 0.2, probe_every_s: 0.2}
turn: {memory_timeout_s: 2, model_timeout_s: 2}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(
        new_state(tmp_path_factory.mktemp("stack") / "state", CONFIGURATION)
    ) as started:
        yield started

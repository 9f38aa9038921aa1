"""The whole of SONIA as it is by default, for one conversation."""

from collections.abc import Iterator

import pytest

from tests.service.running import new_state
from tests.service.stack import Stack, running_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(new_state(tmp_path_factory.mktemp("stack") / "state")) as started:
        yield started

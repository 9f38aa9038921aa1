"""A control database, and what is done to its tokens."""

from collections.abc import Iterator

import pytest

from service.control import Control, open_control
from tests.service.auth.actions import Actions
from tests.service.running import State


@pytest.fixture
def control(state: State) -> Iterator[Control]:
    opened = open_control(state.directory)
    yield opened
    opened.close()


@pytest.fixture
def actions(control: Control) -> Actions:
    return Actions(control)

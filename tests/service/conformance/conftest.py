"""Conversations with a gateway that stands alone, and with all four processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.conformance.conversation import Conversation, with_gateway
from tests.service.running import new_state, running
from tests.service.stack import Stack, running_stack

# Nothing is silent here: what is there answers in time, however busy the machine.
CONFIGURATION = "turn: {memory_timeout_s: 20, model_timeout_s: 20}\n"


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Conversation]:
    """With a fresh gateway; what is behind it is away."""
    with running(new_state(tmp_path / "state")) as gateway:
        yield with_gateway(gateway)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All four processes, one set for each module."""
    state = new_state(tmp_path_factory.mktemp("stack") / "state", CONFIGURATION)
    with running_stack(state) as started:
        yield started


@pytest.fixture
def talk_to_all(stack: Stack) -> Conversation:
    """With all four processes."""
    gateway = stack.gateway
    return Conversation(gateway.state, {**stack.ports, "gateway": gateway.port})

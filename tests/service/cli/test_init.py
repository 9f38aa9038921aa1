"""What `sonia init` takes for a directory in use, and what it puts aside."""

import pytest

from service.cli.init import create_state
from service.errors import SoniaError, StartRefused
from tests.service.running import State


@pytest.mark.parametrize("left", ["keys", "database"])
def test_half_a_state_is_in_use_too(state: State, left: str) -> None:
    directory = state.directory
    (directory.database if left == "keys" else directory.keys).unlink()
    kept = getattr(directory, left).read_bytes()
    with pytest.raises(SoniaError, match="in use already; --force"):
        create_state(directory, force=False)
    assert getattr(directory, left).read_bytes() == kept


def test_settings_alone_are_kept_and_no_state(state: State) -> None:
    directory = state.directory
    for path in directory.root.iterdir():
        path.unlink()
    directory.settings.write_text("auth: {rotation_window_s: 1}\n")
    create_state(directory, force=False)
    assert directory.settings.read_text() == "auth: {rotation_window_s: 1}\n"
    assert list(directory.root.glob("replaced-*")) == []


def test_no_force_puts_a_running_gateways_state_aside(state: State) -> None:
    before = state.directory.keys.read_bytes()
    held = state.directory.lock()
    try:
        with pytest.raises(StartRefused, match="another gateway is running"):
            create_state(state.directory, force=True)
    finally:
        state.directory.unlock(held)
    assert state.directory.keys.read_bytes() == before
    create_state(state.directory, force=True)
    [aside] = state.directory.root.glob("replaced-*")
    assert (aside / "keys.json").read_bytes() == before
    assert not (aside / "gateway.lock").exists()

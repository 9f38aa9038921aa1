"""A start looks at whose each file is and who may change it, before it believes any."""

import os
from pathlib import Path

import pytest

from service.errors import EXIT_REFUSED, StartRefused
from service.internal.start import check_start
from service.memory.process import run as run_memory
from service.processes import BEHIND, PROCESSES, Process
from service.state import StateDir
from service.trust import check_control
from tests.service.running import State
from tests.service.test_control import run

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
LINKS = tuple(f"keys.{each.name}.json" for each in BEHIND)
CONTROL = (
    "keys.json",
    *LINKS,
    "control.db",
    "control.db-wal",
    "audit.checkpoints",
    "clock.mark",
    "tokens.epoch",
)
EVERY_PROCESS = ("sonia.yaml", ".")
ANOTHER = 12345


@pytest.fixture
def whole(state: State) -> Path:
    """The directory of a state with every file that there may be."""
    (state.directory.root / "control.db-wal").touch(mode=0o600)
    return state.directory.root


@pytest.mark.parametrize("name", [*EVERY_PROCESS, *CONTROL])
def test_what_others_may_change_is_refused(name: str, whole: Path) -> None:
    check_control(StateDir(whole))
    (whole / name).chmod(0o722 if name == "." else 0o622)
    with pytest.raises(StartRefused, match=r"open to others \(mode 0.22\); use 0"):
        check_control(StateDir(whole))


@pytest.mark.parametrize("name", CONTROL)
def test_what_others_may_read_is_refused(name: str, whole: Path) -> None:
    (whole / name).chmod(0o604)
    with pytest.raises(StartRefused, match=f"{name} is open to others"):
        check_control(StateDir(whole))


@as_root
@pytest.mark.parametrize("name", [*EVERY_PROCESS, *CONTROL])
def test_what_belongs_to_another_user_is_refused(name: str, whole: Path) -> None:
    os.chown(whole / name, ANOTHER, ANOTHER)
    with pytest.raises(StartRefused, match="belongs to another user"):
        check_control(StateDir(whole))


@pytest.mark.parametrize("name", CONTROL)
def test_a_link_in_the_place_of_a_file_is_refused(name: str, whole: Path) -> None:
    (whole / name).rename(whole / "elsewhere")
    (whole / name).symlink_to("elsewhere")
    with pytest.raises(StartRefused, match=f"{name} is not a regular file"):
        check_control(StateDir(whole))


@pytest.mark.parametrize("process", BEHIND, ids=lambda each: each.name)
@pytest.mark.parametrize("name", ["its keys", *EVERY_PROCESS])
@pytest.mark.parametrize("how", ["absent", "open", pytest.param("another's", marks=as_root)])
def test_a_process_behind_the_gateway_looks_as_well(
    process: Process, name: str, how: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = whole / (f"keys.{process.name}.json" if name == "its keys" else name)
    if how == "absent":
        path.rename(path.with_name("gone") if name != "." else whole.with_name("gone"))
    elif how == "open":
        path.chmod(0o777)
    else:
        os.chown(path, ANOTHER, ANOTHER)
    with pytest.raises(StartRefused, match="; "):
        check_start(process, whole, {})


def test_the_memory_process_looks_at_its_database(whole: Path) -> None:
    memories = whole / "memory.db"
    memories.touch(mode=0o644)
    memories.chmod(0o644)
    with pytest.raises(StartRefused, match=r"memory\.db is open to others"):
        run_memory(check_start(PROCESSES["memory"], whole, {}))


@pytest.mark.parametrize("name", ["control.db", "sonia.yaml"])
def test_a_gateway_does_not_start(name: str, state: State) -> None:
    (state.directory.root / name).chmod(0o666)
    assert run(state, "run", "gateway") == EXIT_REFUSED

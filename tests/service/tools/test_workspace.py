"""The workspace cannot be left, by whatever a path is made of."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from service.errors import StartRefused
from service.messages.tool_table import FileRead, FileWrite
from service.state import StateDir
from service.tools import files
from service.tools.files import EffectMissing, read_file, verify_written, write_file
from service.tools.usage import BEYOND, Usage, measure
from service.tools.workspace import NotAFile, PathOutside, Workspace, require_apart, require_private
from tests.builders.descriptors import open_descriptors


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    secret = tmp_path / "outside" / "secret.txt"
    secret.parent.mkdir()
    secret.write_text("secret")
    return secret


@pytest.fixture
def workspace(tmp_path: Path, outside: Path) -> Workspace:
    return Workspace(tmp_path / "work")


def test_what_is_written_is_read(workspace: Workspace) -> None:
    written = write_file(workspace, FileWrite("deep/er/a.txt", "häl\n"))
    read = read_file(workspace, FileRead("deep/er/a.txt"))
    assert read["content"] == "häl\n"
    assert read["sha256"] == written["sha256"]
    assert written["verified"] is True
    assert written["written_bytes"] == 5


def test_write_replaces_and_append_extends(workspace: Workspace) -> None:
    write_file(workspace, FileWrite("a", "long content"))
    write_file(workspace, FileWrite("a", "short"))
    write_file(workspace, FileWrite("a", "er", append=True))
    assert (workspace.root / "a").read_text() == "shorter"
    assert [each.name for each in workspace.root.iterdir()] == ["a"]


def test_reading_is_bounded_and_says_so(workspace: Workspace) -> None:
    (workspace.root / "big").write_bytes(b"x" * 1000)
    read = read_file(workspace, FileRead("big", max_bytes=10))
    assert (read["read_bytes"], read["size_bytes"], read["truncated"]) == (10, 1000, True)


def test_bytes_that_are_no_text_come_in_base64(workspace: Workspace) -> None:
    (workspace.root / "b").write_bytes(b"\xff\x00")
    read = read_file(workspace, FileRead("b"))
    assert (read["encoding"], read["content"]) == ("base64", "/wA=")


@pytest.mark.parametrize(
    "path", ["../outside/secret.txt", "/etc/passwd", "a/../../outside/secret.txt", "x\0y", ".."]
)
def test_paths_that_lead_out_are_refused(workspace: Workspace, outside: Path, path: str) -> None:
    with pytest.raises(PathOutside):
        read_file(workspace, FileRead(path))
    with pytest.raises(PathOutside):
        write_file(workspace, FileWrite(path, "owned"))
    assert outside.read_text() == "secret"


@pytest.mark.parametrize("link", ["file", "directory", "chain"])
def test_links_that_lead_out_are_refused(workspace: Workspace, outside: Path, link: str) -> None:
    if link == "file":
        (workspace.root / "l").symlink_to(outside)
        path = "l"
    elif link == "directory":
        (workspace.root / "l").symlink_to(outside.parent)
        path = "l/secret.txt"
    else:
        (workspace.root / "m").symlink_to(outside.parent)
        (workspace.root / "l").symlink_to("m")
        path = "l/secret.txt"
    with pytest.raises(PathOutside):
        read_file(workspace, FileRead(path))
    with pytest.raises(PathOutside):
        write_file(workspace, FileWrite(path, "owned"))
    assert outside.read_text() == "secret"


def test_links_that_stay_inside_are_followed(workspace: Workspace) -> None:
    write_file(workspace, FileWrite("d/a", "inside"))
    (workspace.root / "l").symlink_to("d/a")
    assert read_file(workspace, FileRead("l"))["content"] == "inside"
    write_file(workspace, FileWrite("l", "changed"))
    assert (workspace.root / "d" / "a").read_text() == "changed"


def test_a_directory_exchanged_for_a_link_after_the_check_is_not_followed(
    workspace: Workspace, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.root / "d").mkdir()
    locate = workspace.locate

    def locate_then_swap(path: str) -> tuple[str, ...]:
        parts = locate(path)
        (workspace.root / "d").rmdir()
        (workspace.root / "d").symlink_to(outside.parent)
        return parts

    monkeypatch.setattr(workspace, "locate", locate_then_swap)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        read_file(workspace, FileRead("d/secret.txt"))


def test_a_file_with_a_second_name_is_not_touched(workspace: Workspace, outside: Path) -> None:
    os.link(outside, workspace.root / "hard")
    with pytest.raises(NotAFile):
        read_file(workspace, FileRead("hard"))
    for append in (False, True):
        with pytest.raises(NotAFile):
            write_file(workspace, FileWrite("hard", "owned", append=append))
    assert outside.read_text() == "secret"


def test_pipes_and_directories_are_no_files(workspace: Workspace) -> None:
    os.mkfifo(workspace.root / "pipe")
    (workspace.root / "dir").mkdir()
    for name in ("pipe", "dir", "."):
        with pytest.raises((NotAFile, OSError)):
            read_file(workspace, FileRead(name))
        with pytest.raises((NotAFile, OSError)):
            write_file(workspace, FileWrite(name, "x"))


def test_an_effect_that_is_not_there_is_noticed(workspace: Workspace) -> None:
    (workspace.root / "a").write_text("something else")
    with pytest.raises(EffectMissing):
        verify_written(workspace, "a", b"something", 0)


def test_nothing_stays_open(workspace: Workspace, outside: Path) -> None:
    (workspace.root / "led").symlink_to(outside)
    before = open_descriptors()
    for path in ("deep/er/a.txt", "a", "led", ".", "deep"):
        for call in (FileWrite(path, "x"), FileWrite(path, "y", append=True)):
            with contextlib.suppress(PathOutside, NotAFile, OSError):
                write_file(workspace, call)
        with contextlib.suppress(PathOutside, NotAFile, OSError):
            read_file(workspace, FileRead(path))
    assert (workspace.root / "deep/er/a.txt").read_text() == "xy"
    assert open_descriptors() <= before


@pytest.mark.parametrize(
    "name", [".", "..", "/", "workspace/..", "link", "../elsewhere", "/usr/..", "../code"]
)
def test_a_workspace_that_holds_what_sonia_is_made_of_is_refused(tmp_path: Path, name: str) -> None:
    state = StateDir(tmp_path / "state")
    state.root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "keys").write_text("{}")
    state.keys.symlink_to(tmp_path / "elsewhere" / "keys")
    (state.root / "link").symlink_to(".")
    (tmp_path / "code").symlink_to(Path(files.__file__).parents[2])
    with pytest.raises(StartRefused, match=r"^tools\.workspace is /.*, which holds .*; give"):
        require_apart(Workspace(state.workspace(name)).root, state)


@pytest.mark.parametrize("below", ["/etc/sonia", "/usr/local/sonia", "link"])
def test_a_state_that_commands_can_read_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "link").symlink_to("/usr/lib/sonia")
    with pytest.raises(StartRefused, match=r"^the state directory lies below /.*, which commands"):
        require_private(StateDir(tmp_path / below))


@pytest.mark.parametrize("name", ["workspace", "../beside", "deep/er"])
def test_a_workspace_of_its_own_is_taken(tmp_path: Path, name: str) -> None:
    state = StateDir(tmp_path / "state")
    state.root.mkdir()
    require_apart(Workspace(state.workspace(name)).root, state)
    require_private(state)


def test_what_a_directory_holds(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "a").write_bytes(bytes(10_000))
    (tmp_path / "d" / "l").symlink_to("/")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    everything = Usage(BEYOND, BEYOND)
    used = measure(str(tmp_path), everything)
    assert used.files == 5
    assert 10_000 <= used.used_bytes < 100_000
    assert not measure(str(tmp_path), Usage(BEYOND, 4)).within(Usage(BEYOND, 4))
    assert measure(str(tmp_path / "nowhere"), everything).files == 0


def test_what_cannot_be_measured_is_beyond_every_bound(tmp_path: Path) -> None:
    """A path that is too long to be opened: whatever lies below it would not be counted."""
    above = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=above)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
    bound = Usage(BEYOND - 1, BEYOND - 1)
    assert not measure(str(tmp_path), bound).within(bound)
    shutil.rmtree(tmp_path / ("x" * 250))

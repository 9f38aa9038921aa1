"""Every path is resolved in one place, and nothing outside of it is changed."""

import os
from pathlib import Path

import pytest

from chaos.engine.paths import Places, misplaced
from chaos.errors import HarnessError
from chaos.spec.kind import PathUse


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A state directory and a project with links in and out of both."""
    home = tmp_path.resolve()
    state, project, other = (home / name for name in ("state", "project", "other"))
    for place in (state, project, other):
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "file").write_text("x")
    (state / "to-other").symlink_to(other)
    (state / "to-file").symlink_to(other / "deep" / "file")
    (state / "to-own").symlink_to(state / "deep")
    (state / "to-itself").symlink_to(state)
    (state / "loop").symlink_to(state / "loop")
    os.mkfifo(state / "pipe")
    return Places(state, project)


INSIDE = [
    ("deep/file", "deep/file"),
    ("new", "new"),
    ("to-own/file", "deep/file"),
    ("./deep/../x", "x"),
    ("to-itself/deep/file", "deep/file"),
]
OUTSIDE = [
    "",
    ".",
    "..",
    "../state",
    "/",
    "../other/x",
    "to-other/x",
    "to-itself",
    "to-file",
    "to-other/../x",
]


@pytest.mark.parametrize(("path", "found"), INSIDE)
def test_what_is_below_the_state_is_written_without_links(
    places: Places, path: str, found: str
) -> None:
    assert places.written(f"{places.state}/{path}") == places.state / found


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_else_is_written(places: Places, path: str) -> None:
    with pytest.raises(HarnessError, match="is not below the state directory"):
        places.written(f"{places.state}/{path}")


@pytest.mark.parametrize("path", ["", ".", "..", "deep/file", "x\0y"])
def test_nor_what_is_relative(places: Places, path: str) -> None:
    with pytest.raises(HarnessError, match="is not below the state directory"):
        places.written(path)


@pytest.mark.parametrize("path", ["loop", "x\0y", "x" * 5000])
def test_what_is_no_path_is_told(places: Places, path: str) -> None:
    with pytest.raises(HarnessError):
        places.written(f"{places.state}/{path}")


def test_a_link_that_is_replaced_stands_for_itself(places: Places) -> None:
    for name in ("to-other", "to-file"):
        assert places.written(f"{places.state}/{name}", itself=True) == places.state / name
    for path in ("", ".", "..", "to-other/x"):
        with pytest.raises(HarnessError, match="is not below the state directory"):
            places.written(f"{places.state}/{path}", itself=True)


def test_the_state_and_the_project_are_read(places: Places) -> None:
    assert places.read(f"{places.state}/to-own/file") == places.state / "deep" / "file"
    assert places.read("deep/file") == places.project / "deep" / "file"
    assert places.read(f"{places.project}/new") == places.project / "new"
    for path in ("../other/deep/file", "/etc/passwd", f"{places.state}/to-file"):
        with pytest.raises(HarnessError, match="neither in the state directory nor in the project"):
            places.read(path)
    for path in ("pipe", "deep"):
        with pytest.raises(HarnessError, match="is no regular file"):
            places.read(f"{places.state}/{path}")


def test_the_state_itself_may_be_looked_at(places: Places) -> None:
    assert places.kept(f"{places.state}") == places.state
    assert places.kept(f"{places.state}/to-file") == places.state / "to-file"
    for path in ("..", "../other", "to-other/deep"):
        with pytest.raises(HarnessError, match="is not in the state directory"):
            places.kept(f"{places.state}/{path}")


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("{state}/x", "written"),
        ("{state}/a/../x", "written"),
        ("{state}/{name}", "written"),
        ("{place}", "written"),
        ("{root}/x", "read"),
        ("specs/x", "read"),
        ("{state}/x", "read"),
    ],
)
def test_what_may_be_right_is_tried(text: str, use: PathUse) -> None:
    assert misplaced(text, use) is None


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("", "written"),
        (".", "written"),
        ("x", "written"),
        ("/tmp/x", "written"),
        ("{state}", "written"),
        ("{state}/", "written"),
        ("{state}x", "written"),
        ("{state}/a/../..", "written"),
        ("{root}/x", "written"),
        ("/etc/passwd", "read"),
        ("../x", "read"),
        ("{root}/../x", "read"),
        ("{state}/../x", "read"),
    ],
)
def test_what_can_only_be_wrong_is_told_before(text: str, use: PathUse) -> None:
    assert f"{text!r} is not below" in (misplaced(text, use) or "")

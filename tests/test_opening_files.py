"""Whatever stands where a file should be, nothing waits for it: files are opened in one place."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import regular

ROOT = Path(__file__).parents[1]
READ = {"read_bytes", "read_text"}
OWN = {
    # Files of the system's, or that only this program writes.
    "chaos/clock.py", "chaos/engine/life.py", "chaos/engine/procfs.py", "chaos/links/watch/table.py",
    "chaos/links/watch/watcher.py", "chaos/marks.py", "chaos/ports.py", "chaos/steps/corrupt.py", "gates/html/compiled.py",
    "gates/html/rendering.py", "gates/run/interrupts.py",
}  # fmt: skip


def readers(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        if (name in READ and isinstance(node.func, ast.Attribute)) or (
            name == "open" and any("r" in str(mode) for mode in modes)
        ):
            yield name


def test_files_are_opened_in_one_place() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("chaos", "gates")
        for path in (ROOT / folder).rglob("*.py")
        if "shims" not in path.parts and list(readers(path))
    }
    assert found == OWN


@pytest.fixture(params=["pipe", "directory", "device", "link to a pipe"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What is there, and no regular file."""
    path = tmp_path / "it"
    if request.param == "directory":
        path.mkdir()
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
        path = tmp_path / "pipe" if request.param == "pipe" else path
    return path


def test_only_regular_files_are_opened(no_file: Path) -> None:
    assert not regular.is_regular(no_file)
    with pytest.raises(regular.NotRegularError, match="it is no regular file"):
        regular.read(no_file)


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"0123456789")
    assert regular.read(path, 10) == regular.read(path) == b"0123456789"
    assert regular.beginning(path, 4) == (b"0123", 6)
    assert list(regular.pieces(path, 4, 2)) == [b"0123", b"234567", b"6789"]
    with pytest.raises(regular.TooLargeError, match="it is larger than 9 bytes"):
        regular.read(path, 9)

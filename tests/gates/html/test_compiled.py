"""Templates are compiled once, also by processes that follow each other, and anew whenever anything of it is another."""

import sys
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest

from gates.html.compiled import Compiled


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Draws a template as a process of its own would."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "how.py").write_text("")
    (tmp_path / "hello.j2").write_text("hello {{ name }}")

    def draw() -> str:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(tmp_path),
            autoescape=True,
            bytecode_cache=Compiled(tmp_path, tmp_path / "how.py"),
        )
        return environment.get_template("hello.j2").render(name="<b>")

    return draw


def kept(directory: Path) -> list[Path]:
    return sorted((directory / "__pycache__").glob("*"))


def test_what_was_compiled_is_taken_up(
    drawn: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drawn() == "hello &lt;b&gt;"
    (made,) = kept(tmp_path)
    monkeypatch.delattr(jinja2.Environment, "_generate")
    assert drawn() == "hello &lt;b&gt;"
    assert kept(tmp_path) == [made]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [("hello.j2", "bye {{ name }}", "bye &lt;b&gt;"), ("how.py", "x = 1\n", "hello &lt;b&gt;")],
)
def test_what_is_another_is_compiled_anew(
    drawn: Callable[[], str], tmp_path: Path, name: str, text: str, said: str
) -> None:
    drawn()
    before = [path.read_bytes() for path in kept(tmp_path)]
    (tmp_path / name).write_text(text)
    assert drawn() == said
    assert [path.read_bytes() for path in kept(tmp_path)] != before


@pytest.mark.parametrize("why", ["no bytecode is wanted", "it cannot be written"])
def test_without_a_place_it_is_drawn_all_the_same(
    drawn: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "no bytecode is wanted":
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
    else:
        (tmp_path / "__pycache__").write_text("in the way")
    assert drawn() == "hello &lt;b&gt;"
    assert not (tmp_path / "__pycache__").is_dir()


def test_half_of_it_is_none(drawn: Callable[[], str], tmp_path: Path) -> None:
    drawn()
    (made,) = kept(tmp_path)
    whole = made.read_bytes()
    for size in range(0, len(whole), 7):
        made.write_bytes(whole[:size])
        assert drawn() == "hello &lt;b&gt;"
        assert made.read_bytes() == whole

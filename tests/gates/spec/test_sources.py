"""A source is a folder, a file or the whole project, and its files may be in any encoding."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.prove.copies import apply, copy_sources
from gates.run.bytecode import compile_sources
from gates.run.session import tree_digest
from gates.spec.edits import StaleError, stale_among
from gates.spec.gate import Defect
from gates.spec.sources import decoded, files_below

LATIN = "# -*- coding: latin-1 -*-\r\nNAME = 'Zürich'\r\n".encode("latin-1")


def defect(replace: str, with_: str) -> Defect:
    return Defect(defect="d", file="app.py", replace=replace, with_=with_, fails=["x"])


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.builds(lambda data: b"# coding: cp1252\n" + data, st.binary())
    | st.builds(lambda name: b"# coding: " + name + b"\n", st.binary(max_size=8))
)
def test_every_file_is_a_text_from_which_it_comes_back(data: bytes) -> None:
    text, encoding = decoded(data)
    assert text.encode(encoding) == data


@pytest.mark.parametrize(
    "before", [LATIN, LATIN[LATIN.index(b"NAME") :], "NAME = 'Zürich'\n".encode()]
)
def test_an_edit_leaves_all_other_bytes_as_they_are(tmp_path: Path, before: bytes) -> None:
    (tmp_path / "app.py").write_bytes(before)
    edit = apply(defect("NAME =", "TOWN ="), tmp_path)
    assert (tmp_path / "app.py").read_bytes() == before.replace(b"NAME", b"TOWN")
    assert "-NAME = 'Zürich'" in edit.diff


def test_a_defect_that_its_file_has_no_place_for_is_stale(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes(LATIN)
    wrong = defect("NAME", "名")
    said = "stale: app.py is in iso-8859-1, which has no '名'"
    assert stale_among([wrong], tmp_path) == {"d": said}
    with pytest.raises(StaleError, match="which has no '名'"):
        apply(wrong, tmp_path)
    assert (tmp_path / "app.py").read_bytes() == LATIN


@pytest.fixture
def root(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    for name in ("app.py", "lib/a.py", "specs/release.yaml", ".git/HEAD", "runs/1", "releases/v1"):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    return project


@pytest.mark.parametrize(
    ("sources", "copied"),
    [
        (["app.py"], ["app.py"]),
        (["."], ["app.py", "lib/a.py", "specs/release.yaml"]),
        (["./"], ["app.py", "lib/a.py", "specs/release.yaml"]),
        ([".", "lib"], ["app.py", "lib/a.py", "specs/release.yaml"]),
        (["lib/a.py", "app.py"], ["app.py", "lib/a.py"]),
    ],
)
def test_a_copy_has_what_belongs_to_the_source(
    root: Path, tmp_path: Path, sources: list[str], copied: list[str]
) -> None:
    compile_sources(root, sources)
    into = tmp_path / "copy"
    into.mkdir()
    copy_sources(root, sources, into)
    files = sorted(str(path.relative_to(into)) for path in into.rglob("*") if path.is_file())
    assert files == copied
    assert tree_digest(into, sources) == tree_digest(root, sources)


@pytest.mark.parametrize("sources", [["."], ["app.py"]])
def test_a_change_of_the_source_is_another_one(root: Path, sources: list[str]) -> None:
    before = tree_digest(root, sources)
    (root / "runs" / "2").write_text("made")
    assert tree_digest(root, sources) == before
    (root / "app.py").write_text("x = 2\n")
    assert tree_digest(root, sources) != before


def test_the_files_of_a_source_are_in_the_order_of_their_paths(root: Path, tmp_path: Path) -> None:
    """Links among them are followed to files and not into folders."""
    for name in (
        "lib.py",
        "lib/b/c.py",
        "lib/b.py",
        "lib-2/a.py",
        "lib/.hidden",
        "lib/__pycache__/a.pyc",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.py").write_text("x")
    (root / "lib/linked.py").symlink_to(elsewhere / "x.py")
    (root / "lib/folder").symlink_to(elsewhere)
    (root / "lib/dangling").symlink_to("nowhere")
    (root / "lib/round").symlink_to("round")
    os.mkfifo(root / "lib/pipe")
    found = list(files_below(root, ["lib", "lib-2", "lib.py", "none"]))
    inside = [root / "lib" / name for name in (".hidden", "a.py", "b/c.py", "b.py", "linked.py")]
    assert found == [*inside, root / "lib-2/a.py", root / "lib.py"]
    assert inside == sorted(inside)

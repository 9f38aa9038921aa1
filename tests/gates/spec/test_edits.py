"""The edit of a defect is made in one place, and where that is gone it is said what stands nearest."""

from pathlib import Path

import pytest

from chaos.errors import HarnessError
from gates.spec.edits import StaleError, edited, nearest, stale_among, text_of
from gates.spec.gate import Defect

CODE = '''\
import functools


class Registry:
    """Who may."""

    @functools.cached_property
    def verify(self) -> bool:
        if True:

            def inner() -> bool:
                return True

        return inner()

    @property
    def size(self) -> int:
        return 1

    @size.setter
    def size(self, value: int) -> None:
        self._size = value  # the last word


try:
    async def verify() -> bool:
        return True
except ImportError:
    pass
'''


def defect(replace: str, in_: str | None = None, with_: str = "X") -> Defect:
    return Defect(defect="d", file="a.py", in_=in_, replace=replace, with_=with_, fails=[])


@pytest.mark.parametrize(
    ("replace", "in_", "line"),
    [
        ("import functools", None, 1),
        ("return True", "Registry", 12),
        ("return True", "Registry.verify", 12),
        ("return True", "Registry.verify.inner", 12),
        ("return True", "verify", 27),
        ("functools", "Registry.verify", 7),
        ("return 1", "Registry.size", 18),
        ("self._size = value  # the last word\n", "Registry.size", 22),
        ("    async def", "verify", 26),
    ],
)
def test_the_edit_is_made_where_its_definition_is(replace: str, in_: str | None, line: int) -> None:
    lines = CODE.split("\n")
    assert replace.strip() in lines[line - 1]
    before, after = "\n".join(lines[: line - 1]), "\n".join(lines[line - 1 :])
    assert edited(
        defect(replace, in_), CODE
    ) == f"{before}\n{after.replace(replace, 'X', 1)}".lstrip("\n" if line == 1 else "")


@pytest.mark.parametrize(
    "text", ["# ünïcödé\r\ndef a():\r\n    return 'é'\r\n", "\ufeffdef a():\n    return 'é'\n"]
)
def test_line_ends_and_letters_of_many_bytes_are_kept(text: str) -> None:
    assert edited(defect("'é'", "a"), text) == text.replace("'é'", "X")


@pytest.mark.parametrize(
    ("replace", "in_", "key", "why"),
    [
        ("return 7", "Registry.size", "replace", "does not occur in Registry.size of a.py"),
        ("return True", None, "replace", r"occurs 2 times in a.py \(lines 12, 27\), not once"),
        ("size", "Registry.size", "replace", r"occurs 4 times"),
        ("return True", "Registry.verfy", "in", r"defines no Registry.verfy, 'Registry.verify'"),
        ("return True", "Register", "in", r"defines no Register, 'Registry'"),
        ("return True", "inner", "in", "defines no inner"),
        ("", None, "replace", "does not occur"),
    ],
)
def test_what_is_stale(replace: str, in_: str | None, key: str, why: str) -> None:
    with pytest.raises(StaleError, match=why) as found:
        edited(defect(replace, in_), CODE)
    assert found.value.key == key
    assert "defect 'd' is stale" in str(found.value)
    assert isinstance(found.value, HarnessError)


def test_occurrences_that_overlap_are_several() -> None:
    with pytest.raises(StaleError, match="2 times"):
        edited(defect("aba"), "ababa")


def test_in_what_is_no_python_there_is_no_definition() -> None:
    with pytest.raises(StaleError, match=r"a\.py is no Python") as found:
        edited(defect("x", "f"), "def f(:\n    x\n")
    assert found.value.key == "in"


def test_the_nearest_passage_is_named_with_its_line() -> None:
    with pytest.raises(StaleError) as found:
        edited(defect("self._size = valu  # the lats word"), CODE)
    assert found.value.message.endswith("nearest is line 22 of the file")
    assert found.value.hint == "self._size = value  # the last word"
    assert nearest("@property\ndef size(self) -> float:", CODE) == (
        16,
        "@property\n    def size(self) -> int:",
    )
    assert nearest("§§§", CODE) is None


def test_all_stale_defects_of_a_gate_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(CODE)
    gone = Defect(defect="gone", file="b.py", replace="x", with_="y", fails=[])
    moved = Defect(defect="moved", file="a.py", replace="§", with_="y", fails=[])
    reasons = stale_among([defect("import functools"), gone, moved], tmp_path)
    assert reasons == {
        "gone": "stale: there is no file b.py",
        "moved": "stale: the text does not occur in a.py",
    }


def test_what_is_no_file_has_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.py").mkdir()
    with pytest.raises(StaleError, match="cannot be read"):
        text_of(defect("x"), tmp_path)

"""Inputs that broke something once, each tried again; `nox -s fuzz` looks for more."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.fuzz.inputs import SURFACES, Surface, edited, kept, of

KEPT = kept()


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory: pytest.TempPathFactory) -> object:
    @cache
    def made(kind: str) -> Surface:
        return SURFACES[kind](Path(tmp_path_factory.mktemp(kind)))

    return made


@pytest.mark.parametrize("name", KEPT)
def test_what_broke_something_once(name: str, surfaces: object) -> None:
    one = KEPT[name]
    surfaces(one.kind).try_it(one.name, one.content)  # type: ignore[operator]


def test_edits_are_made_one_after_the_other() -> None:
    assert edited(b"abc", [(1, 1, b"xy"), (5, 0, b"!")]) == b"a!xyc"[:0] + edited(
        b"axyc", [(5, 0, b"!")]
    )
    assert edited(b"", [(7, 3, b"a")]) == b"a"


def test_an_input_is_kept_as_it_is(tmp_path: Path) -> None:
    one = of("specs", "specs/release.yaml", b"\xff\0")
    one.save(tmp_path)
    found: Mapping[str, object] = kept(tmp_path)
    assert list(found.values()) == [one] and one.content == b"\xff\0"

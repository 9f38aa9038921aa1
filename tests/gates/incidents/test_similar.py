"""Incidents that went alike are found, by vectors that are the same everywhere."""

import math
import shutil
from pathlib import Path

import pytest

from chaos.errors import HarnessError
from gates.incidents.analysis import Limits
from gates.incidents.bundle import open_bundle
from gates.incidents.similar import INDEX, Shape, nearest, shapes_of, vector_of
from tests.builders.incidents import write_incident

WELL = Shape("a", 100, [("authenticate", "admitted", ""), ("outcome", "completed", "")])
SHED = Shape("b", 10, [("authenticate", "admitted", ""), ("admit", "shed", "over_budget")])
LOST = Shape("c", 10, [("model", "unavailable", "open"), ("outcome", "failed", "open")])


def likeness(one: list[float], other: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def test_what_failed_alike_is_nearer_than_what_went_well_alike() -> None:
    shed = vector_of([WELL, SHED])
    assert likeness(shed, shed) == pytest.approx(1)
    again = vector_of([Shape("a", 150, WELL.stages), Shape("b", 7, SHED.stages)])
    assert likeness(shed, again) > 0.95 > likeness(shed, vector_of([WELL, LOST])) + 0.1
    assert likeness(shed, vector_of([LOST])) == pytest.approx(0, abs=0.2)
    assert set(vector_of([])) == {0.0}


def test_neither_the_order_nor_the_name_of_classes_matters() -> None:
    named = [Shape("x", 10, SHED.stages), Shape("y", 100, WELL.stages)]
    assert vector_of([WELL, SHED]) == vector_of(named)


def test_the_order_of_stages_matters() -> None:
    turned = Shape("a", 100, WELL.stages[::-1])
    assert likeness(vector_of([WELL]), vector_of([turned])) < 0.9


def test_shapes_are_what_was_decided(made: Path) -> None:
    shapes = {
        shape.stages[-1][1]: shape for shape in shapes_of(open_bundle(made / "one"), Limits())
    }
    assert shapes["shed"].stages == [
        ("authenticate", "admitted", ""),
        ("authorize", "admitted", ""),
        ("admit", "shed", "over_budget"),
        ("outcome", "shed", ""),
    ]
    assert shapes["shed"].requests == 16


def test_the_library_is_searched_and_its_index_kept_up(made: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(made, library)
    write_incident(library / "calm", broken=100)
    (library / "damaged").mkdir()
    (library / "damaged" / "manifest.json").write_text("{}")
    one = open_bundle(library / "one")

    found = nearest(one, library, 5, Limits())
    assert [near.bundle for near in found.nearest] == ["two", "calm"]
    two, calm = found.nearest
    assert two.similarity > 0.99 > calm.similarity > 0.5
    assert (two.shared_classes, two.classes, calm.shared_classes) == (6, 6, 5)
    assert list(found.unread) == ["damaged"]

    shutil.rmtree(library / "two")
    shutil.rmtree(library / "damaged")
    found = nearest(one, library, 5, Limits())
    assert ([near.bundle for near in found.nearest], found.unread) == (["calm"], {})

    (library / INDEX).write_bytes(b"no database at all" * 100)
    assert [near.bundle for near in nearest(one, library, 1, Limits()).nearest] == ["calm"]
    with pytest.raises(HarnessError, match="is no library"):
        nearest(one, tmp_path / "nowhere", 1, Limits())

"""The floor is what it was, or somebody has said why not."""

import msgspec
import pytest

from gates.release.pins import pins
from gates.spec.release import Release

RELEASE = Release(
    release="v2",
    title="",
    contract_version="",
    contract="",
    target="shop",
    floor=1,
    delta=0,
    epics=[],
    config={},
    source=[],
    gates=[],
    invariants=[],
    limits=[],
    floor_digests={"old": "d1"},
)


@pytest.mark.parametrize(
    ("floor", "reasons", "holds", "said"),
    [
        ({"old": "d1"}, {}, True, "1 pinned, none changed"),
        ({"old": "d2"}, {}, False, "old was changed without a reason"),
        ({"old": "d2"}, {"old": " "}, False, "old was changed without a reason"),
        ({"old": "d2"}, {"old": "its route moved"}, True, "old was changed: its route moved"),
        ({}, {}, False, "old was dropped without a reason"),
        ({}, {"old": "became B1"}, True, "old was dropped: became B1"),
        ({"old": None}, {}, None, "not run: old"),
        ({"old": None}, {"old": "x"}, None, "not run: old"),
        ({"old": "d1", "new": "d9"}, {}, True, "not pinned: new"),
    ],
)
def test_pins(
    floor: dict[str, str | None], reasons: dict[str, str], holds: bool | None, said: str
) -> None:
    assert pins(msgspec.structs.replace(RELEASE, reasons=reasons), floor) == (holds, said)

"""A waiver is shown with who signed it, and changes nothing."""

from pathlib import Path

import msgspec
import pytest

from gates.release import waivers
from gates.release.signing import make_keys, read_private, read_public, sign, text_of
from gates.verify.verify import Expected, verify
from tests.builders.small_release import RELEASE, SmallRelease

WAIVER = {
    "gate": "first",
    "release": "v1",
    "reason": "known",
    "by": "r. m.",
    "expires": "2100-01-01",
}


def write(directory: Path, key: Path, **changes: object) -> None:
    folder = directory / waivers.FOLDER
    folder.mkdir(exist_ok=True)
    payload = msgspec.json.encode({**WAIVER, **changes})
    envelope = sign(payload, waivers.PAYLOAD_TYPE, read_private(key))
    (folder / "one.json").write_bytes(msgspec.json.encode(envelope))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"expires": "2026-01-01"}, "it has expired"),
        ({"expires": "2026-01-02"}, None),
        ({"release": "v0"}, "it is for v0"),
        ({"more": 1}, "Object contains unknown field `more`"),
    ],
)
def test_reading(tmp_path: Path, changes: dict[str, object], why: str | None) -> None:
    public, _ = make_keys(tmp_path / "key")
    write(tmp_path, tmp_path / "key", **changes)
    keys = [text_of(read_public(public))]
    at_ms = 1_767_355_200_000.0  # 2026-01-02 12:00 UTC
    (waiver,) = waivers.read(tmp_path, "v1", keys, at_ms)
    assert (waiver.valid, waiver.why) == (why is None, why)


def test_of_strangers_and_of_nobody(tmp_path: Path) -> None:
    make_keys(tmp_path / "key")
    public, _ = make_keys(tmp_path / "other")
    write(tmp_path, tmp_path / "key")
    for keys in ([], ["%"], [text_of(read_public(public))]):
        (waiver,) = waivers.read(tmp_path, "v1", keys, 0.0)
        assert waiver.why == "it is signed by none of the release's keys"
        assert waiver.gate == ""
    (tmp_path / waivers.FOLDER / "one.json").write_text("{")
    assert not waivers.read(tmp_path, "v1", [], 0.0)[0].valid
    assert waivers.read(tmp_path / "none", "v1", [], 0.0) == []


def test_a_waived_gate_holds_all_the_same(tmp_path: Path) -> None:
    public, _ = make_keys(tmp_path / "key")
    keys = f"waiver_keys: ['{text_of(read_public(public))}']\n"
    project = SmallRelease(tmp_path / "shop", {"specs/release.yaml": RELEASE + keys})
    write(project.specs, tmp_path / "key")
    report = project.release(lambda gate: 500 if gate == "first" else 200)
    assert report.verdict == "HOLD"
    assert [(one.gate, one.valid) for one in report.waivers] == [("first", True)]
    assert verify(project.directory, Expected()).flaws == []

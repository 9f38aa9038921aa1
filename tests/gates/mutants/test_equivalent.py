"""The reviewed list is read like every spec, and what no longer matches is told."""

from pathlib import Path

import msgspec
import pytest

from chaos.errors import SpecError
from chaos.spec import yaml12
from gates.mutants.equivalent import Equivalent, read_equivalents, reviewed
from gates.mutants.mutations import mutations_of
from tests.builders.gate_runs import ROOT

MUTATION = mutations_of("a.py", "a < b\n")[0]
ENTRY = Equivalent(file="a.py", diff=MUTATION.diff, sha256=MUTATION.sha256, reason="never equal")


def written(tmp_path: Path, *entries: Equivalent) -> Path:
    """A directory of specs with this list."""
    path = tmp_path / "mutants" / "equivalent.yaml"
    path.parent.mkdir()
    path.write_text(yaml12.dump({"equivalent": [msgspec.to_builtins(each) for each in entries]}))
    return tmp_path


def test_an_entry_gives_its_reason(tmp_path: Path) -> None:
    entries = read_equivalents(written(tmp_path, ENTRY))
    assert entries == [ENTRY]
    found = reviewed(entries, [MUTATION])
    assert (found.reasons, found.stale) == ({MUTATION.sha256: "never equal"}, [])


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert read_equivalents(tmp_path) == []


def test_what_is_no_longer_possible_is_stale(tmp_path: Path) -> None:
    found = reviewed([ENTRY], mutations_of("a.py", "a <= b\n"))
    assert (found.reasons, found.stale) == ({}, [f"a.py: {MUTATION.sha256}"])


def test_what_stands_for_two_places_is_stale() -> None:
    assert reviewed([ENTRY], [MUTATION, MUTATION]).stale == [f"a.py: {MUTATION.sha256}"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "0" * 64}, "this is not the digest of the diff"),
        ({"reason": " "}, "a reason is needed"),
    ],
)
def test_a_wrong_entry_is_named_with_its_place(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    entry = msgspec.structs.replace(ENTRY, **change)
    with pytest.raises(SpecError, match=rf"equivalent\.yaml:\d+:\d+: {said}"):
        read_equivalents(written(tmp_path, entry))


def test_an_unknown_key_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mutants" / "equivalent.yaml"
    path.parent.mkdir()
    path.write_text("equivalent: []\nequivalents: []\n")
    with pytest.raises(SpecError, match=r"equivalent\.yaml:2:1: unknown key 'equivalents'"):
        read_equivalents(tmp_path)


def test_the_list_of_this_project_is_sound() -> None:
    entries = read_equivalents(ROOT / "specs")
    files = sorted({entry.file for entry in entries})
    possible = [
        each for file in files for each in mutations_of(file, (ROOT / file).read_bytes().decode())
    ]
    assert reviewed(entries, possible).stale == []

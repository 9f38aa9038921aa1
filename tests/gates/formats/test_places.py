"""Where gates and assertions are written."""

from pathlib import Path

from gates.formats.places import At, places_of
from gates.spec.project import read_project
from tests.builders.small_project import write_project

ROOT = Path(__file__).parents[3]


def test_an_assertion_is_found_at_its_line() -> None:
    project = read_project(ROOT / "specs")
    name, gate = next(iter(project.gates.items()))
    places = places_of(project)
    that = gate.assert_[-1].that
    at = places.of(name, that)
    lines = (ROOT / at.file).read_text(encoding="utf-8").splitlines()
    assert that[:20] in lines[at.line - 1]


def test_what_is_written_nowhere_stands_in_the_release() -> None:
    places = places_of(read_project(ROOT / "specs"))
    assert places.of("no-such-gate", "x") == At("specs/release.yaml", 1)


def test_without_a_release_what_is_written_nowhere_has_no_place(tmp_path: Path) -> None:
    assert places_of(read_project(tmp_path / "nowhere")).of("a") is None


def test_paths_are_told_from_the_repository(tmp_path: Path) -> None:
    specs = write_project(tmp_path / "services" / "shop", {"specs/release.yaml": "release: v1\n"})
    (tmp_path / ".git").mkdir()
    places = places_of(read_project(specs))
    assert places.release == At("services/shop/specs/release.yaml", 1)

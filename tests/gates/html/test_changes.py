"""What the page compares with, and in which order it shows what changed."""

from pathlib import Path

import msgspec

from gates.html.changes import ORDER, WORDS, last_report, since
from gates.release.report import GateReport, Report
from tests.gates.html.releases import missing, report_of


def gate(name: str, status: str) -> GateReport:
    return msgspec.structs.replace(missing(name.upper(), name), status=status)


def said(before: list[GateReport], after: list[GateReport]) -> list[tuple[str, str | None, str]]:
    found = since(report_of(before), report_of(after)).changes
    return [(change.direction, change.gate, change.what) for change in found]


def test_equal_reports_have_no_changes() -> None:
    gates = [gate("a", "PASS"), gate("b", "FAIL")]
    assert said(gates, gates) == []


def test_what_needs_a_look_stands_first() -> None:
    before = [gate("a", "FAIL"), gate("b", "PASS"), gate("c", "PASS")]
    after = [gate("a", "PASS"), gate("b", "UNKNOWN"), gate("d", "PASS")]
    assert said(before, after) == [
        ("worse", "B b", "status"),
        ("loosened", "C c", "the gate was removed"),
        ("tightened", "D d", "the gate is new"),
        ("better", "A a", "status"),
    ]


def test_gates_outside_of_this_run_have_not_changed() -> None:
    before, after = [gate("a", "PASS"), gate("b", "PASS")], [gate("a", "PASS"), gate("b", "SKIP")]
    assert said(before, after) == []


def test_every_direction_has_its_words() -> None:
    assert set(ORDER) == set(WORDS)


def put(releases: Path, name: str, report: Report) -> None:
    (releases / name).mkdir(parents=True)
    (releases / name / "gate-report.json").write_bytes(msgspec.json.encode(report))


def at(day: int, version: str, **changes: object) -> Report:
    return report_of([], version=version, timestamp=f"2026-01-{day:02}T00:00:00+00:00", **changes)


def test_the_last_promoted_release_is_compared_with(tmp_path: Path) -> None:
    put(tmp_path, "v1", at(1, "v1", verdict="PROMOTE"))
    put(tmp_path, "v2", at(2, "v2", verdict="PROMOTE"))
    put(tmp_path, "v3-baseline", at(3, "v3"))
    found = last_report(tmp_path, at(4, "v3"))
    assert found is not None
    assert found.version == "v2"


def test_without_a_promoted_release_it_is_the_last_report(tmp_path: Path) -> None:
    put(tmp_path, "v1", at(1, "v1"))
    put(tmp_path, "v3", at(2, "v3", seed=99))
    put(tmp_path, "v3-baseline", at(3, "v3-baseline", partial=True))
    found = last_report(tmp_path, at(4, "v3"))
    assert found is not None
    assert found.seed == 99


def test_what_is_newer_or_cannot_be_read_is_no_base(tmp_path: Path) -> None:
    put(tmp_path, "v1", at(9, "v1"))
    (tmp_path / "v0").mkdir()
    (tmp_path / "v0" / "gate-report.json").write_text("{")
    assert last_report(tmp_path, at(4, "v3")) is None
    assert last_report(tmp_path / "nowhere", at(4, "v3")) is None

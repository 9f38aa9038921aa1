"""What a release costs is measured of one that was promoted, and only of commands that did what they should."""

from pathlib import Path

import msgspec
import pytest

from bench import release
from chaos.errors import errors_among
from gates.lint.gate import lint
from gates.release.report import Made
from gates.spec.project import read_project
from tests.builders.small_release import SmallRelease


def test_the_small_gates_are_a_whole_release(tmp_path: Path) -> None:
    release.write(tmp_path)
    project = read_project(tmp_path / "specs")
    assert errors_among(lint(project)) == []
    assert project.release is not None
    assert [entry.gate for entry in project.release.gates] == sorted(project.gates)
    classes = [gate.class_ for gate in project.gates.values()]
    assert (classes.count("floor"), classes.count("delta")) == (release.FLOOR, release.DELTA)
    assert all(len(gate.falsified_by) == 1 for gate in project.gates.values())


def test_everything_is_measured_of_a_release_with_proofs(tmp_path: Path) -> None:
    small = SmallRelease(tmp_path, drawn=True)
    report = small.release()
    rows = {row.what: row for row in release.looked_at(small.directory, "two gates", 1)}
    assert len(rows) == 5
    assert all(row.ratio is not None and row.ratio > 0 for row in rows.values())
    verifying = rows["verifying two gates with proofs against judging it (time)"]
    assert (verifying.values["gates"], verifying.values["trials of proofs"]) == (2, 4)
    proving = rows["one trial of a proof against one run of its gate, two gates (time)"]
    assert (proving.values["trials"], proving.values["defects"]) == (4, 2)
    size = (small.directory / "gate-report.json").stat().st_size
    sized = rows["gate-report.json per gate, two gates (KiB)"]
    assert (sized.values["bytes"], sized.ratio) == (size, size / 1024 / len(report.gates))


def test_of_a_release_without_proofs_it_is_said_that_there_are_none(tmp_path: Path) -> None:
    small = SmallRelease(tmp_path, drawn=True)
    small.release(prove=False)
    notes = [row.note for row in release.looked_at(small.directory, "x", 1) if row.ratio is None]
    assert notes == ["it was released without proofs"]


def test_of_proofs_that_were_made_before_it_is_said_so(tmp_path: Path) -> None:
    small = SmallRelease(tmp_path)
    report = small.release()
    assert not release.made_before(report)
    older = {"control": Made(at="2026-01-01T00:00:00+00:00", host="h")}
    gates = [msgspec.structs.replace(report.gates[0], made=older), *report.gates[1:]]
    assert release.made_before(msgspec.structs.replace(report, gates=gates))


def test_a_last_release_that_is_none_any_more_is_said(tmp_path: Path) -> None:
    assert [row.ratio for row in release.of_last(None, 1)] == [None]
    (tmp_path / "manifest.json").write_text("{}")
    (row,) = release.of_last(tmp_path, 1)
    assert row.ratio is None
    assert "gate-report.json" in (row.note or "")


def test_a_file_that_is_not_there_has_no_size(tmp_path: Path) -> None:
    row = release.sized(tmp_path / "gate-report.html", "page", 2)
    assert (row.ratio, row.note) == (None, "gate-report.html is not there")


def test_a_command_that_exits_otherwise_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="gates judge came to 4"):
        release.gates_s(tmp_path, "judge", ".")

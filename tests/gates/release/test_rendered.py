"""What is rendered of a release: all of it can be drawn again from what is shipped."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gates.html import page
from gates.release import rendered
from gates.release.report import Report
from gates.release.stages import judge_directory
from gates.release.stored import REPORT, stored_report
from gates.spec.assertion import Judged
from tests.builders.small_release import SmallRelease
from tests.gates.conftest import Made


def test_the_page_is_drawn_with_what_each_gate_asserts(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def shapes_of(_: object, judged: Judged, __: object) -> Mapping[str, object]:
        asked.append(judged.gate)
        return {}

    monkeypatch.setattr("gates.html.view.reading.shapes_of", shapes_of)
    rendered.write(drawn, judge_directory(drawn))
    assert sorted(asked) == ["first", "second"]


def test_a_page_that_cannot_be_rendered_leaves_the_report(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> str:
        raise ValueError("no picture today")

    monkeypatch.setattr(page, "render_open", fail)
    (drawn / page.NAME).unlink()
    (drawn / "gate-report.json").unlink()
    judgement = judge_directory(drawn)
    rendered.write(drawn, judgement)
    assert stored_report(drawn).gates == judgement.report.gates
    assert not (drawn / page.NAME).exists()
    assert "no picture today" in capsys.readouterr().err


def test_what_takes_too_long_to_draw_is_no_page(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gates.html.reading.TIME_LIMIT_S", -1.0)
    judgement = judge_directory(made.directory)
    with pytest.raises(TimeoutError, match="take longer than"):
        rendered.RENDERED[page.NAME](made.directory, judgement)


def test_what_the_page_compares_with_is_shipped_with_it(tmp_path: Path) -> None:
    project = SmallRelease(tmp_path / "shop", drawn=True)
    first = project.release(lambda gate: 500 if gate == "first" else 200, prove=False)
    assert rendered.base_of(project.directory) is None
    older = project.releases / "v0"
    project.directory.rename(older)
    text = (older / REPORT).read_text().replace(first.timestamp, "2020-01-01T00:00:00+00:00")
    (older / REPORT).write_text(text)
    project.release(prove=False)
    base: Report | None = rendered.base_of(project.directory)
    assert base is not None and base.session == first.session
    found = judge_directory(project.directory)
    assert list(rendered.flaws(project.directory, found)) == []
    (project.directory / rendered.BASE).unlink()
    assert [flaw.path for flaw in rendered.flaws(project.directory, found)] == [page.NAME]

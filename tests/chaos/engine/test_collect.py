"""Lines that a target has written become evidence: of a file, or of a directory of segments."""

from pathlib import Path

import pytest

from chaos import bounds
from chaos.engine.collect import _lines
from chaos.engine.paths import Places
from chaos.errors import HarnessError


@pytest.fixture
def places(tmp_path: Path) -> Places:
    state, project = tmp_path.resolve() / "state", tmp_path.resolve() / "project"
    (state / "traces").mkdir(parents=True)
    project.mkdir()
    return Places(state=state, project=project)


def test_segments_are_read_in_order_and_each_may_end_broken(places: Places) -> None:
    traces = places.state / "traces"
    (traces / "2.jsonl").write_text('{"n": 3}\n')
    (traces / "1.jsonl").write_text('{"n": 1}\n{"n": 2}\n{"n": ')
    (traces / "notes.txt").write_text("no segment")
    assert _lines(str(traces), places) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert _lines(str(traces / "1.jsonl"), places) == [{"n": 1}, {"n": 2}]
    assert _lines(str(traces / "3.jsonl"), places) == []


def test_what_leads_out_or_is_too_much_is_refused(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = places.state / "traces"
    (traces / "1.jsonl").write_text('{"n": 1}\n')
    monkeypatch.setattr(bounds, "COLLECTED_BYTES", 8)
    with pytest.raises(HarnessError, match="larger than 8 bytes"):
        _lines(str(traces), places)
    (tmp_path / "elsewhere").write_text("{}\n")
    (traces / "1.jsonl").unlink()
    (traces / "1.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HarnessError, match="neither in the state directory"):
        _lines(str(traces), places)

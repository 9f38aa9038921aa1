"""What is read of sealed evidence for the pictures."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gates.html import reading
from gates.html.timeline import SLOTS
from gates.judge.connection import Evidence, open_release
from gates.spec.assertion import Assertion
from tests.gates.html.releases import judged_gate, release

KEY = ("run-1", "demo")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    directory, _ = release(tmp_path_factory.mktemp("release"))
    opened = open_release(directory / "evidence", {})
    yield opened
    opened.connection.close()


def test_all_requests_are_counted_by_outcome(evidence: Evidence) -> None:
    drawn = reading.timeline_of(evidence, KEY, [])
    assert drawn is not None
    counts = {kind: drawn.count(kind) for kind in ("answered", "refused", "failed", "lost")}
    assert counts == {"answered": 188, "refused": 8, "failed": 4, "lost": 1}
    assert len(drawn.slots) <= 4 * SLOTS
    assert drawn.began_ms < 1000.0
    assert drawn.ended_ms > 9100.0


def test_only_processes_that_ended_early_are_drawn(evidence: Evidence) -> None:
    drawn = reading.timeline_of(evidence, KEY, [])
    assert drawn is not None
    assert [(life.process, life.early) for life in drawn.lives] == [
        ("memory", True),
        ("memory", False),
    ]


def test_another_run_has_nothing_to_draw(evidence: Evidence) -> None:
    assert reading.timeline_of(evidence, ("run-2", "demo"), []) is None


def test_requests_inside_of_a_fault_are_counted(evidence: Evidence) -> None:
    count = reading.inside(evidence, KEY)["outage"]
    # Those that were sent after the proof and had ended before the fault was asked off.
    assert 35 <= count <= 45


def test_the_proof_is_told_phase_by_phase(evidence: Evidence) -> None:
    told = reading.probes_of(evidence, KEY, "outage")
    assert [probe.phase for probe in told] == ["before", "start", "end", "after"]
    assert told[1].link == "refused (new)"
    assert told[1].direct == "answered after 1 ms (new)"
    assert reading.probes_of(evidence, KEY, "another") == []


@pytest.fixture
def shape_of(evidence: Evidence) -> Callable[..., reading.Shape]:
    def read(**changes: object) -> reading.Shape:
        columns: dict[str, object] = {"that": "x", "from_": "requests", "at_least": 10}
        own = Assertion(**(columns | changes))  # type: ignore[arg-type]
        found = reading.shapes_of(evidence, judged_gate(asserts=[own]), KEY)
        return found["x"]

    return read


def test_a_compared_number_has_a_histogram_with_its_limit(
    shape_of: Callable[..., reading.Shape],
) -> None:
    drawn = shape_of(every="service_ms < 200").histogram
    assert drawn is not None
    assert drawn.limit == 200
    assert drawn.log
    assert sum(bar.rows for bar in drawn.bars) == 200
    # The request without an answer violates as well, but has no number that could be drawn.
    assert sum(bar.violating for bar in drawn.bars) == sum(
        b.rows for b in drawn.bars if b.index > 20
    )


def test_a_limit_may_stand_on_either_side(shape_of: Callable[..., reading.Shape]) -> None:
    drawn = shape_of(none="200 <= service_ms").histogram
    assert drawn is not None
    assert drawn.limit == 200
    assert sum(bar.violating for bar in drawn.bars) > 0


def test_a_percentile_has_the_histogram_of_its_rows(shape_of: Callable[..., reading.Shape]) -> None:
    drawn = shape_of(value="quantile_cont(service_ms, 0.95)", is_="< 100", at_least=100).histogram
    assert drawn is not None
    assert drawn.limit == 100


def test_few_values_are_counted_instead(shape_of: Callable[..., reading.Shape]) -> None:
    shape = shape_of(share="status < 500", is_=">= 0.9")
    told = [(value.text, value.rows, value.violating) for value in shape.values[0].values]
    assert shape.histogram is None
    assert told == [("200", 188, 0), ("404", 8, 0), ("503", 4, 4), ("NULL", 1, 1)]


def test_one_value_only_says_nothing(shape_of: Callable[..., reading.Shape]) -> None:
    shape = shape_of(from_="requests where status = 200", every="route = '/v1/turn'")
    assert shape == reading.Shape(None, [])


def test_a_value_over_all_rows_has_no_rows_to_draw(shape_of: Callable[..., reading.Shape]) -> None:
    assert shape_of(value="count(*)", is_="> 5") == reading.Shape(None, ())


def test_sql_that_is_wrong_leaves_out_the_picture(evidence: Evidence) -> None:
    broken = Assertion(that="x", from_="requests", at_least=1, every="no_such_column = 1")
    assert reading.shapes_of(evidence, judged_gate(asserts=[broken]), KEY) == {}


def test_a_query_that_fails_leaves_out_the_picture(evidence: Evidence, tmp_path: Path) -> None:
    failing = Assertion(that="x", from_="requests", at_least=1, every="cast(route as integer) < 5")
    assert reading.shapes_of(evidence, judged_gate(asserts=[failing]), KEY) == {}

"""Small histograms."""

from xml.etree import ElementTree as ET

from gates.html.distribution import BARS, BOTTOM, TOP, Bar, Histogram, draw, edges


def histogram(**changes: object) -> Histogram:
    columns: dict[str, object] = {
        "column": "service_ms",
        "low": 1.0,
        "high": 20.0,
        "log": False,
        "bars": [Bar(0, 10, 0), Bar(BARS - 1, 5, 5)],
        "limit": None,
    }
    return Histogram(**(columns | changes))  # type: ignore[arg-type]


def boxes(drawn: str, kind: str) -> list[tuple[float, float]]:
    """Left edge and height of all boxes of a kind."""
    return [
        (float(e.get("x", "")), float(e.get("height", "")))
        for e in ET.fromstring(drawn).iter()
        if e.get("class") == f"b-{kind}"
    ]


def test_the_highest_bar_fills_the_picture_and_violating_rows_are_set_off() -> None:
    drawn = draw(histogram())
    ((_, height),) = boxes(drawn, "good")
    ((_, bad),) = boxes(drawn, "bad")
    assert height == BOTTOM - TOP
    assert bad == height / 2


def test_one_violating_row_of_many_can_be_seen() -> None:
    drawn = draw(histogram(bars=[Bar(0, 100_000, 1)]))
    ((_, bad),) = boxes(drawn, "bad")
    assert bad >= 1


def test_a_limit_beyond_the_values_lies_within_the_picture() -> None:
    assert edges(histogram(limit=1000.0)) == (1.0, 1000.0)
    assert "limit 1,000" in draw(histogram(limit=1000.0))


def test_no_limit_below_zero_spoils_a_logarithmic_scale() -> None:
    assert edges(histogram(log=True, limit=0.0)) == (1.0, 20.0)
    assert draw(histogram(log=True, limit=0.0))


def test_one_value_only_has_a_place() -> None:
    assert draw(histogram(low=5.0, high=5.0, bars=[Bar(0, 3, 0)]))


def test_ends_that_would_meet_are_one_text() -> None:
    drawn = draw(histogram(low=1.0, high=1.5, limit=1000.0))
    ticks = [
        "".join(e.itertext()) for e in ET.fromstring(drawn).iter() if "t-tick" in e.get("class", "")
    ]
    assert ticks == ["1 to 1.5"]

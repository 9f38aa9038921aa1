"""How numbers and values are written."""

import pytest

from gates.html import words


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, "—"), (0.0, "0 ms"), (0.02, "20 µs"), (3.14159, "3.14 ms"), (1234.0, "1.23 s")],
)
def test_durations(ms: float | None, text: str) -> None:
    assert words.milliseconds(ms) == text


@pytest.mark.parametrize(
    ("ms", "text"), [(None, "—"), (5000.0, "5 s"), (6819.78, "6.8 s"), (250.0, "0.25 s")]
)
def test_moments(ms: float | None, text: str) -> None:
    assert words.seconds(ms) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1960, "1,960"),
        (1.0, "1"),
        (0.98765, "0.9877"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (None, "—"),
        (True, "true"),
        ("x", "x"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
    ],
)
def test_measured_values(value: object, text: str) -> None:
    assert words.number(value) == text


def test_long_values_are_cut() -> None:
    assert len(words.cell("x" * 10_000)) == words.CELL_LENGTH + 1


def test_settings_are_flat() -> None:
    assert words.setting({"breaker": {"open_for_s": 0.3}, "n": 2}) == "breaker.open_for_s 0.3, n 2"
    assert words.setting({}) == "—"


def test_one_is_singular() -> None:
    assert words.counted(1, "row") == "1 row"
    assert words.counted(1960, "row") == "1,960 rows"

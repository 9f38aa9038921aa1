"""Quantities with their units."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos import bounds
from chaos.spec.units import Duration, Offset, Rate, Size, Unit

NUMBERS = st.integers(0, 999_999_999)
HOURS = {"ms": 3_600_000, "s": 3600, "min": 60, "h": 1}
LENGTHS = st.sampled_from(sorted(HOURS)).flatmap(
    lambda unit: st.tuples(st.integers(0, bounds.LONGEST_H * HOURS[unit]), st.just(unit))
)
MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
BYTES = {"B": 1, "KB": 1000, "MB": 1_000_000}
ALL: list[type[Unit]] = [Duration, Offset, Rate, Size]


@given(LENGTHS)
def test_a_duration_is_its_number_times_its_unit(length: tuple[int, str]) -> None:
    number, unit = length
    duration = Duration.of(f"{number}{unit}")
    assert duration.ms == number * MS[unit]
    assert duration.s == duration.ms / 1000
    assert str(duration) == f"{number}{unit}"


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (Duration, "25h"),
        (Duration, "999999999h"),
        (Duration, "1441min"),
        (Offset, "999999999h"),
        (Offset, "-999999999h"),
    ],
)
def test_no_length_is_beyond_its_bound(unit: type[Unit], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text} is (longer than 24h|farther off than 878400h)$"):
        unit.of(text)


@given(LENGTHS)
def test_an_offset_has_a_sign(length: tuple[int, str]) -> None:
    number, unit = length
    assert Offset.of(f"-{number}{unit}").ms == -Offset.of(f"{number}{unit}").ms
    with pytest.raises(ValueError, match="expected something like"):
        Duration.of(f"-{number}{unit}")


@given(st.integers(1, 999_999_999))
def test_a_rate_per_minute_is_a_sixtieth_of_one_per_second(number: int) -> None:
    assert Rate.of(f"{number}/s").per_s == number
    assert Rate.of(f"{number}/min").per_s == number / 60


@given(NUMBERS, st.sampled_from(sorted(BYTES)))
def test_a_size_counts_in_thousands(number: int, unit: str) -> None:
    assert Size.of(f"{number}{unit}").bytes == number * BYTES[unit]


@pytest.mark.parametrize("unit", ALL)
@pytest.mark.parametrize(
    "value",
    [
        "",
        "5",
        "s",
        "1.s",
        ".5s",
        "1e3s",
        " 1s",
        "1s ",
        "1s\n",
        "٣s",
        "1 s",
        "--1s",
        "0/s",
        5,
        None,
        True,
        ["1s"],
    ],
)
def test_what_is_not_a_quantity_names_one_that_is(unit: type[Unit], value: object) -> None:
    with pytest.raises(ValueError, match="expected something like") as caught:
        unit.of(value)
    assert unit.EXAMPLE in str(caught.value)


@given(st.sampled_from(ALL), st.text("0123456789.-smhinBKM/ ", max_size=8))
def test_the_pattern_of_the_schema_accepts_what_the_code_accepts(
    unit: type[Unit], text: str
) -> None:
    matches = re.fullmatch(unit.PATTERN, text) is not None
    try:
        unit.of(text)
    except ValueError:
        # A rate of zero is well-formed and still refused.
        assert not matches or (unit is Rate and float(text.partition("/")[0]) == 0)
    else:
        assert matches


def test_quantities_are_equal_by_kind_and_text() -> None:
    assert Duration("1s") == Duration("1s")
    assert hash(Duration("1s")) == hash(Duration("1s"))
    assert Duration("1s") != Duration("1000ms")
    assert Duration("1s") != Offset("1s")
    assert Duration("1s") != "1s"
    assert repr(Duration("1s")) == "Duration('1s')"

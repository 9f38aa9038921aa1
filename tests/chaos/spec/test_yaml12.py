"""What a scalar is, by the core schema of YAML 1.2."""

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.spec import yaml12


@pytest.mark.parametrize(
    "text",
    [
        "OFF",
        "no",
        "yes",
        "on",
        "y",
        "1:30",
        "2024-01-31",
        "1_000",
        "0b1",
        "+.nan",
        "<<",
        "=",
        "1e",
        "0o8",
        "nUll",
    ],
)
def test_what_only_yaml_1_1_reads_as_something_else_is_a_text(text: str) -> None:
    assert yaml12.load(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("+12", 12),
        ("9223372036854775807", 2**63 - 1),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("'017'", "017"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
    ],
)
def test_scalars_of_the_core_schema(text: str, value: object) -> None:
    found = yaml12.load(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number() -> None:
    found = yaml12.load(".nan")
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    "text", ["9223372036854775808", "!!int x", "!!bool no", "!!timestamp 2020-01-01", "!x y"]
)
def test_what_is_no_value_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"64 bits|is not"):
        yaml12.load(text)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))
    | st.sampled_from(["OFF", "1:30", "0o17", "1e3", "017", "~", "null", "2024-01-31"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abc", min_size=1), VALUES))
@settings(max_examples=50)
def test_what_is_written_is_read_alike_by_both_versions(value: dict[str, object]) -> None:
    text = yaml12.dump(value)
    assert yaml12.load(text) == value
    assert yaml.safe_load(text) == value

"""How commands read what is typed."""

import argparse

import pytest

from service.cli.shared import duration_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1ms", 1),
        ("2s", 2_000),
        ("1.5m", 90_000),
        ("3h", 10_800_000),
        ("2d", 172_800_000),
        ("0s", 0),
        ("0.0006s", 1),
    ],
)
def test_durations(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "s", "1w", "-1s", "1 s", "1.s", ".5s", "1ss", "1S"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration_ms(text)

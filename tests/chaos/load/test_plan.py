"""What a load comes to before anything is sent."""

import pytest

from chaos.load.plan import Bursts, Clients, Rates, Stage, offsets_s, planned
from chaos.load.run import p99


@pytest.mark.parametrize(
    ("shape", "at_most", "number"),
    [
        (Rates([Stage(60, 6)]), 1000, 360),
        (Rates([Stage(60, 6)]), 100, 100),
        (Rates([Stage(20, 2), Stage(200, 0.5)]), 1000, 140),
        (Rates([Stage(0.1, 5)]), 1000, 0),
        (Rates([Stage(10, 0.3)]), 1000, 3),
        (Bursts(100, times=3), 1000, 300),
        (Clients(8, 2.0), 1000, None),
    ],
)
def test_planned(shape: Rates | Clients | Bursts, at_most: int, number: int | None) -> None:
    assert planned(shape, at_most) == number


def test_requests_of_a_stepped_rate_are_spread_evenly_within_each_stage() -> None:
    offsets = list(offsets_s([Stage(2, 1), Stage(4, 0.5)], 100))
    assert offsets == pytest.approx([0.0, 0.5, 1.0, 1.25])
    assert list(offsets_s([Stage(2, 1), Stage(4, 0.5)], 3)) == pytest.approx([0.0, 0.5, 1.0])


def test_the_schedule_has_what_is_planned() -> None:
    stages = [Stage(33.3, 1.7), Stage(0.3, 1), Stage(1000, 0.1)]
    assert len(list(offsets_s(stages, 10_000))) == planned(Rates(stages), 10_000)


def test_p99_is_a_value_that_occurred() -> None:
    assert p99([]) == 0.0
    assert p99([5.0]) == 5.0
    assert p99([float(number) for number in range(1, 101)]) == 99.0

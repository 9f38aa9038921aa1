"""Time never goes back, not even with the machine's clock and a restart."""

from pathlib import Path

import pytest

from service.clock import Clock, MarkFile, create_clock, open_clock
from service.errors import StartRefused


class Hands:
    """A wall clock and a monotonic clock that move when told."""

    def __init__(self, wall_ms: int) -> None:
        self.wall = wall_ms
        self.monotonic = 0

    def pass_ms(self, elapsed: int) -> None:
        self.wall += elapsed
        self.monotonic += elapsed


def clock_of(path: Path, hands: Hands, mark_ms: int) -> Clock:
    mark = MarkFile(path)
    mark.create(mark_ms)
    return Clock(mark, mark_ms, lambda: hands.wall, lambda: hands.monotonic)


def test_follows_the_wall_clock(tmp_path: Path) -> None:
    hands = Hands(1_000_000)
    clock = clock_of(tmp_path / "mark", hands, 1_000_000)
    hands.pass_ms(2_500)
    assert clock.now_ms() == 1_002_500


def test_goes_on_when_the_wall_clock_is_turned_back(tmp_path: Path) -> None:
    hands = Hands(1_000_000)
    clock = clock_of(tmp_path / "mark", hands, 1_000_000)
    hands.pass_ms(5_000)
    assert clock.now_ms() == 1_005_000
    hands.wall = 0
    hands.monotonic += 700
    assert clock.now_ms() == 1_005_700


def test_mark_survives_a_restart(tmp_path: Path) -> None:
    hands = Hands(1_000_000)
    clock = clock_of(tmp_path / "mark", hands, 1_000_000)
    hands.pass_ms(60_000)
    clock.persist(clock.now_ms())
    mark = MarkFile(tmp_path / "mark")
    turned_back = Hands(0)
    reopened = Clock(mark, mark.open(), lambda: turned_back.wall, lambda: turned_back.monotonic)
    assert reopened.now_ms() == 1_060_000


def test_is_raised_to_what_is_known_to_have_happened(tmp_path: Path) -> None:
    hands = Hands(1_000)
    clock = clock_of(tmp_path / "mark", hands, 1_000)
    clock.raise_to(9_000)
    hands.pass_ms(5)
    assert clock.now_ms() == 9_005


def test_forgets_only_when_told(tmp_path: Path) -> None:
    hands = Hands(1_000_000)
    clock = clock_of(tmp_path / "mark", hands, 9_000_000)
    assert clock.now_ms() == 9_000_000
    clock.forget()
    assert clock.now_ms() == 1_000_000


@pytest.mark.parametrize("content", ["", "12", "x" * 21, "0" * 19 + "x\n"])
def test_an_unreadable_mark_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mark"
    create_clock(path)
    path.write_text(content)
    with pytest.raises(StartRefused, match="accept-clock"):
        open_clock(path)

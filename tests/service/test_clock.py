"""Time never goes back, not even with the machine's clock and a restart."""

import os
from pathlib import Path

import pytest

from service.clock import PERSIST_EVERY_MS, Clock, MarkFile, create_clock, open_clock
from service.errors import StartRefused


class Hands:
    """A wall clock and a monotonic clock, in milliseconds, that move when told."""

    def __init__(self, wall_ms: float) -> None:
        self.wall = wall_ms
        self.monotonic = 0.0

    def pass_ms(self, elapsed: float) -> None:
        self.wall += elapsed
        self.monotonic += elapsed

    def wall_ns(self) -> int:
        return int(self.wall * 1_000_000)

    def monotonic_ns(self) -> int:
        return int(self.monotonic * 1_000_000)


def clock_of(path: Path, hands: Hands, mark_ms: int) -> Clock:
    mark = MarkFile(path)
    mark.create(mark_ms)
    return Clock(mark, mark_ms, hands.wall_ns, hands.monotonic_ns)


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
    reopened = Clock(mark, mark.open(), turned_back.wall_ns, turned_back.monotonic_ns)
    assert reopened.now_ms() == 1_060_000


def test_the_time_that_is_told_outlives_a_kill(tmp_path: Path) -> None:
    hands = Hands(1_000_000)
    clock = clock_of(tmp_path / "mark", hands, 1_000_000)
    hands.pass_ms(PERSIST_EVERY_MS)
    told = clock.now_ms()
    assert MarkFile(tmp_path / "mark").open() == told


def test_a_new_mark_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    MarkFile(tmp_path / "mark").create(1)
    assert len(synced) == 2  # the file, and its name


def test_never_runs_ahead_of_the_wall_clock(tmp_path: Path) -> None:
    hands = Hands(1_000_000.1)
    hands.monotonic = 0.9
    clock = clock_of(tmp_path / "mark", hands, 1_000_000)
    for elapsed in (0.05, 0.85, 0.3, 0.999):
        hands.pass_ms(elapsed)
        assert clock.now_ms() == int(hands.wall)


def test_what_passes_between_the_two_readings_does_not_count(tmp_path: Path) -> None:
    hands = Hands(1_000_000)
    mark = MarkFile(tmp_path / "mark")
    mark.create(1_000_000)

    def interrupted_wall_ns() -> int:
        read = hands.wall_ns()
        hands.pass_ms(40)
        return read

    clock = Clock(mark, 1_000_000, interrupted_wall_ns, hands.monotonic_ns)
    for _ in range(3):
        assert clock.now_ms() <= hands.wall


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

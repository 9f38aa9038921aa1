"""What gates took, and the order in which they are handed out."""

import argparse
import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from gates.commands import listing
from gates.run.durations import Took, in_order, last_runs
from gates.run.session import default_workers
from tests.builders.small_project import write_project


def ran(
    runs: Path, session: str, gate: str, wall_ms: float, *, repeat: int = 0, **changes: object
) -> None:
    directory = runs / session / "gates" / str(repeat) / gate
    directory.mkdir(parents=True)
    begun = {"mode": "healthy", "gate": gate, "more": 1} | changes
    ended = {"end_state": "completed", "finished_ms": wall_ms} | changes
    (directory / "runs.jsonl").write_bytes(msgspec.json.encode(begun) + b"\n")
    (directory / "run_ends.jsonl").write_bytes(msgspec.json.encode(ended) + b"\n")


def test_the_last_run_of_each_gate_counts(tmp_path: Path) -> None:
    ran(tmp_path, "20260101T000000Z-aaaaaa", "one", 1000.0)
    ran(tmp_path, "20260101T000000Z-aaaaaa", "two", 2000.0)
    ran(
        tmp_path,
        "20260102T000000Z-bbbbbb",
        "one",
        3000.0,
        harness_cpu_ms=250.0,
        started_cpu_ms=1250.0,
    )
    found = last_runs(tmp_path)
    assert found["one"] == Took("one", "20260102T000000Z-bbbbbb", 3.0, 0.25, 1.25)
    assert found["one"].cpu_s == 1.5
    assert found["two"] == Took("two", "20260101T000000Z-aaaaaa", 2.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "changes", [{"mode": "defect"}, {"end_state": "broken"}, {"finished_ms": "x"}]
)
def test_a_run_that_says_nothing_of_the_gate_is_left_out(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    ran(tmp_path, "20260101T000000Z-aaaaaa", "one", 1000.0)
    ran(tmp_path, "20260102T000000Z-bbbbbb", "one", 2000.0, **changes)
    ran(tmp_path, "20260102T000000Z-bbbbbb", "two", 2000.0, repeat=1)
    (tmp_path / "20260103T000000Z-cccccc" / "gates" / "0" / "one").mkdir(parents=True)
    assert {name: took.wall_s for name, took in last_runs(tmp_path).items()} == {"one": 1.0}
    assert last_runs(tmp_path / "nothing") == {}


def order(workers: int, exclusive: str = "", **seconds: float) -> list[str]:
    took = {name: Took(name, "s", wall_s, 0.0, 0.0) for name, wall_s in seconds.items() if wall_s}
    return in_order({name: name in exclusive for name in seconds}, took, workers)


def test_long_ones_come_first_and_blocks_take_equally_long() -> None:
    assert order(1, a=1, b=3, c=2) == ["b", "c", "a"]
    # Blocks of two, as they are shared out: 9 + 1 and 5 + 4.
    assert order(2, a=1, b=4, c=5, d=9) == ["d", "a", "c", "b"]
    assert order(3, a=1, b=1, c=1, d=1, e=1, f=1, g=1) == list("adbecfg")


def test_exclusive_ones_come_before_all_and_in_blocks_of_their_own() -> None:
    assert order(2, exclusive="ab", a=2, b=1, c=9, d=8) == ["a", "d", "b", "c"]


def test_beside_an_exclusive_one_begins_what_is_shortest() -> None:
    # Blocks of two, two and three; g and f begin beside a.
    assert order(3, exclusive="a", a=6, b=9, c=3, d=4, e=5, f=1, g=2) == list("acgbfed")


def test_what_never_ran_counts_as_long() -> None:
    assert order(1, a=1, b=0, c=2) == ["b", "c", "a"]
    assert order(2, a=0, b=0) == ["a", "b"]


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_every_gate_is_in_it_once(workers: int) -> None:
    names = [f"g{number}" for number in range(11)]
    assert sorted(in_order(dict.fromkeys(names, False), {}, workers)) == sorted(names)


@pytest.mark.parametrize(("cores", "workers"), [(None, 2), (1, 2), (2, 3), (64, 8)])
def test_there_is_one_worker_more_than_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, workers: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert default_workers() == workers


def test_the_slowest_are_listed_first(tmp_path: Path) -> None:
    specs = write_project(tmp_path)
    told = io.StringIO()
    arguments = argparse.Namespace(specs=specs, slow=True, runs=tmp_path / "runs")
    assert listing.act(arguments, Console(file=told, width=100)) == 0
    assert told.getvalue() == "no gate has run yet\n"
    session = "20260101T000000Z-aaaaaa"
    spent = {"harness_cpu_ms": 300.0, "started_cpu_ms": 1000.0}
    ran(tmp_path / "runs", session, "first", 2000.0)
    ran(tmp_path / "runs", session, "second", 4210.0, **spent)
    ran(tmp_path / "runs", session, "exercise-shop", 9000.0)
    told.seek(0)
    told.truncate()
    listing.act(arguments, Console(file=told, width=100))
    rows = [line.split() for line in told.getvalue().splitlines()]
    assert rows[1:] == [["A2", "second", "4.2", "1.3", "0.3"], ["A1", "first", "2.0", "0.0", "0.0"]]

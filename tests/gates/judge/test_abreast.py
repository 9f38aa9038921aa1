"""Judging several runs at once."""

import threading
import time
from pathlib import Path

import duckdb
import pytest

from gates.judge import abreast as abreast_module
from gates.judge.abreast import abreast
from gates.judge.connection import Evidence
from tests.gates.judge.runs import assertion, judged, verdict_of

SPEC = judged(assertion(every="status = 200"), assertion(that="not so", every="status = 201"))


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abreast_module.os, "cpu_count", lambda: 2)


def test_two_judge_at_once_what_one_would_in_the_same_order(locked: Evidence) -> None:
    met = threading.Barrier(2, timeout=60)

    def judge(own: Evidence, number: int) -> tuple[int, object]:
        met.wait()
        return number, verdict_of(own, SPEC)

    expected = verdict_of(locked, SPEC)
    assert expected.status == "FAIL"
    assert abreast(locked, range(6), judge) == [(number, expected) for number in range(6)]


def test_neither_can_do_more_than_the_one(locked: Evidence, tmp_path: Path) -> None:
    def attempt(own: Evidence, path: Path) -> str:
        with pytest.raises(duckdb.Error) as raised:
            own.connection.execute(f"COPY (SELECT 1) TO '{path}'")
        return str(raised.value)

    paths = [tmp_path / "one", tmp_path / "two"]
    for message in abreast(locked, paths, attempt):
        assert "disabled" in message
    assert not any(path.exists() for path in paths)


def test_an_error_ends_it_and_what_has_not_begun_is_left(locked: Evidence) -> None:
    begun = []

    def judge(_own: Evidence, number: int) -> None:
        begun.append(number)
        if number == 0:
            raise RuntimeError(number)
        time.sleep(0.01)

    with pytest.raises(RuntimeError, match="0"):
        abreast(locked, range(1000), judge)
    assert len(begun) < 1000


def test_one_thing_needs_no_thread(locked: Evidence) -> None:
    here = threading.current_thread()
    assert abreast(locked, ["one"], lambda _own, _name: threading.current_thread()) == [here]

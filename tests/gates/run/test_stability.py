"""How stable gates are, from several runs of each."""

import msgspec
import pytest

from gates.release.report import GateReport, Status
from gates.run.stability import Stability, stability_of
from tests.gates.html.releases import missing


def run(name: str, status: Status, took_s: float, *, by_host: bool = False) -> GateReport:
    return msgspec.structs.replace(
        missing(name.upper(), name),
        status=status,
        duration_s=took_s,
        cause="host" if by_host else None,
    )


def test_each_gate_has_its_verdicts_and_the_spread_of_its_durations() -> None:
    runs = [
        run("a", "PASS", 2.0),
        run("b", "PASS", 1.0),
        run("a", "UNKNOWN", 8.0, by_host=True),
        run("a", "PASS", 4.0),
        # Killed: it has no end.
        run("a", "UNKNOWN", 0.0),
    ]
    assert stability_of(runs) == [
        Stability(
            id="A", name="a", runs=4, verdicts={"PASS": 2, "UNKNOWN": 2}, by_host=1,
            shortest_s=2.0, median_s=4.0, longest_s=8.0,
        ),
        Stability(
            id="B", name="b", runs=1, verdicts={"PASS": 1}, by_host=0,
            shortest_s=1.0, median_s=1.0, longest_s=1.0,
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "worst", "told"),
    [
        ([run("a", "PASS", 1)] * 3, "PASS", "3 PASS"),
        ([run("a", "PASS", 1)] * 3 + [run("a", "FAIL", 1)], "FAIL", "3 PASS, 1 FAIL"),
        (
            [run("a", "PASS", 1), *[run("a", "UNKNOWN", 1, by_host=True)] * 2],
            "UNKNOWN",
            "2 UNKNOWN (2 by the host), 1 PASS",
        ),
    ],
)
def test_in_one_line(runs: list[GateReport], worst: str, told: str) -> None:
    (one,) = stability_of(runs)
    assert (one.worst, one.told()) == (worst, told)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ({"PASS": 6}, "below 40 %"),
        ({"PASS": 20}, "below 14 %"),
        ({"PASS": 1}, "below 95 %"),
        ({"PASS": 19, "FAIL": 1}, "below 22 %"),
        ({"FAIL": 6}, "anything"),
    ],
)
def test_so_many_runs_exclude_only_so_much(verdicts: dict[str, int], said: str) -> None:
    one = Stability(
        id="A", name="a", runs=sum(verdicts.values()), verdicts=verdicts, by_host=0,
        shortest_s=1.0, median_s=1.0, longest_s=1.0,
    )  # fmt: skip
    assert one.excluded == said

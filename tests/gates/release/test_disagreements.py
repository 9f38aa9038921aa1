"""What the commands make of a run once it is judged."""

import pytest

from chaos.errors import HarnessError
from gates.judge.result import GateVerdict
from gates.release.conclude import raise_disagreements
from gates.release.report import Report
from tests.gates.html.releases import gate_report, report_of


def report(*statuses: str) -> Report:
    """A report of one gate that was run once for each status."""
    return report_of(
        [
            gate_report(
                GateVerdict(
                    gate="demo",
                    id="C4",
                    run_id="run-1",
                    mode="healthy",
                    status=status,  # type: ignore[arg-type]
                    detail="",
                    assertions=[],
                    faults=[],
                    findings=[],
                )
            )
            for status in statuses
        ]
    )


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"demo": ["PASS"]}, ["PASS"]),
        ({"demo": ["UNKNOWN", "PASS"]}, ["PASS", "UNKNOWN"]),
        ({"demo": ["PASS"]}, ["PASS", "UNKNOWN"]),
        ({}, ["UNKNOWN"]),
    ],
    ids=["same", "in another order", "not all were judged", "none was"],
)
def test_verdicts_that_agree(first: dict[str, list[str]], again: list[str]) -> None:
    raise_disagreements(first, report(*again))


@pytest.mark.parametrize(
    ("first", "again"), [("UNKNOWN", "PASS"), ("PASS", "UNKNOWN"), ("FAIL", "PASS")]
)
def test_verdicts_that_differ_break_the_run(first: str, again: str) -> None:
    with pytest.raises(HarnessError, match=f"demo: {first}, then {again}"):
        raise_disagreements({"demo": [first]}, report(again))


def test_a_repeated_gate_is_compared_run_by_run() -> None:
    with pytest.raises(HarnessError, match="two ways"):
        raise_disagreements({"demo": ["PASS", "PASS"]}, report("PASS", "UNKNOWN"))

"""What the console says of gates that do not pass: each reason once."""

import io
from pathlib import Path

import msgspec
from rich.console import Console

from gates.formats import console as render
from gates.release.report import GateAttempt, GateReport
from tests.gates.html.releases import release


def printed(directory: Path, *gates: GateReport) -> str:
    _, report = release(directory)
    told = io.StringIO()
    console = Console(file=told, width=200, force_terminal=False)
    render.print_report(msgspec.structs.replace(report, gates=list(gates)), directory, console)
    return told.getvalue()


def failed(directory: Path) -> GateReport:
    return next(gate for gate in release(directory)[1].gates if gate.status == "FAIL")


def test_each_reason_is_one_line_and_said_once(tmp_path: Path) -> None:
    gate = failed(tmp_path / "one")
    said = printed(tmp_path / "two", gate)
    assert len(gate.reasons) >= 1
    for reason in gate.reasons:
        assert said.count(reason.partition(": ")[0]) == 1
        assert "\n" not in reason
    assert "    also: service_ms=" in said
    assert "None" not in said
    assert "1 FAIL of" in said


def test_where_nothing_was_measured_that_is_said_once(tmp_path: Path) -> None:
    gate = failed(tmp_path / "one")
    empty = [msgspec.structs.replace(own, population=None) for own in gate.assertions]
    reasons = ["run: the run has no end", *gate.reasons]
    said = printed(
        tmp_path / "two",
        msgspec.structs.replace(gate, status="UNKNOWN", assertions=empty, reasons=reasons),
    )
    assert "  run: the run has no end\n  fault: outage" in said
    assert said.count(render.NOTHING_MEASURED) == 1
    assert "violating it" not in said


def test_attempts_are_told_whatever_came_of_the_last(tmp_path: Path) -> None:
    gate = failed(tmp_path / "one")
    first = GateAttempt(
        attempt=1, run_id="r1", status="UNKNOWN", cause="host", detail="the load was late",
        duration_s=1.0, evidence={},
    )  # fmt: skip
    last = msgspec.structs.replace(first, attempt=2, status="PASS", cause=None)
    repeated = msgspec.structs.replace(gate, status="PASS", reasons=[], attempts=[first, last])
    assert "C4 demo, attempt 1 of 2: UNKNOWN (the load was late)" in printed(
        tmp_path / "two", repeated
    )


def test_of_several_runs_it_is_told_how_stable_they_were(tmp_path: Path) -> None:
    gate = failed(tmp_path / "one")
    passed = msgspec.structs.replace(gate, status="PASS", reasons=[], duration_s=2.0)
    said = printed(tmp_path / "two", passed, gate, passed)
    assert "FAIL  C4  demo  2 PASS, 1 FAIL  1.2 to 2.0, median 2.0" in said
    assert "assertions over" not in said

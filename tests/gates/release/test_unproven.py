"""A release that lacks nothing but proofs says so, with the command that makes them and how long it takes."""

from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from gates.formats.console import print_report
from gates.release.report import GateReport, Report, decide, prove_command, summarise
from gates.release.unproven import missing_proofs, only_proofs_are_missing, roughly, unproven_of
from tests.gates.html.releases import missing, report_of


def gate(
    gate_id: str, trials: int = 0, *, proven: bool | None = None, status: str = "PASS"
) -> GateReport:
    return msgspec.structs.replace(
        missing(gate_id, f"g{gate_id}"),
        status=status,
        proven=proven,
        missing_trials=trials,
        duration_s=5.0,
    )


def test_what_is_missing_is_counted_with_its_time() -> None:
    gates = [gate("A1", 4), gate("A2", 2), gate("A3", proven=True), gate("A4", 9, status="SKIP")]
    found = missing_proofs(gates, {"gA2"}, "nox -s prove", workers=2)
    assert found is not None
    assert (found.gates, found.trials) == (["A1 gA1", "A2 gA2"], 6)
    # Six seconds each: four of them two at a time, two of them alone.
    assert found.about_s == 4 * 6 / 2 + 2 * 6
    assert missing_proofs([gate("A3", proven=True)], set(), "", 2) is None


def test_only_what_is_missing_is_mended_by_the_command() -> None:
    gates = [gate("A1", 4), gate("A2", proven=False), gate("A3", 2, proven=False)]
    reasons = list(unproven_of(gates, missing_proofs(gates, set(), "nox -s prove", 2)))
    assert reasons == [
        "not proven: A2 gA2, A3 gA3",
        (
            "proofs are missing of A1 gA1, A3 gA3: `nox -s prove` makes them in about 20 s,"
            " then run this again"
        ),
    ]
    assert list(unproven_of([gate("A3", proven=True)], None)) == []


def reported(*gates: GateReport) -> Report:
    lacking = missing_proofs(gates, set(), "nox -s prove", 2)
    verdict, code, reason = decide(
        gates, [], [], partial=False, unknown=list(unproven_of(gates, lacking))
    )
    return msgspec.structs.replace(
        report_of(list(gates), invariants=[]),
        verdict=verdict,
        exit_code=code,
        reason=reason,
        missing_proofs=lacking,
        summary=summarise(gates),
    )


def printed(report: Report, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_report(report, Path("nowhere"), Console(soft_wrap=True))
    return capsys.readouterr().out.splitlines()


def test_it_is_the_first_thing_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    report = reported(gate("A1", 4), gate("A3", proven=True))
    assert only_proofs_are_missing(report)
    first = "all gates pass, but proofs are missing of A1 gA1: `nox -s prove` makes them"
    assert printed(report, capsys)[0].startswith(first)


@pytest.mark.parametrize(
    "other",
    [gate("A3", status="UNKNOWN"), gate("A3", status="FAIL"), gate("A3", proven=False)],
    ids=["unknown", "failed", "disproven"],
)
def test_where_more_is_wrong_it_is_not(
    other: GateReport, capsys: pytest.CaptureFixture[str]
) -> None:
    report = reported(gate("A1", 4), other)
    assert report.verdict == "HOLD"
    assert not only_proofs_are_missing(report)
    assert not printed(report, capsys)[0].startswith("all gates pass")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "10 s"), (44.0, "40 s"), (89.0, "90 s"), (200.0, "3 min"), (7000.0, "2 h")],
)
def test_times_are_told_roughly(seconds: float, said: str) -> None:
    assert roughly(seconds) == said


def test_the_command_is_that_of_the_specs() -> None:
    assert prove_command() == "nox -s prove"
    assert prove_command("specs") == "python -m gates prove"
    assert prove_command("more/specs") == "python -m gates --specs more/specs prove"

"""Workflow commands: one line each, whatever stands in them."""

from pathlib import Path

import msgspec
import pytest

from gates.formats import github
from gates.formats.places import At, Places
from gates.release.report import Report
from tests.gates.html.releases import hostile_release, missing, release, report_of

PLACES = Places(
    At("specs/release.yaml", 1),
    {"demo": At("specs/gates/demo.yaml", 1)},
    {("demo", "everything is answered soon"): At("specs/gates/demo.yaml", 42)},
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return release(tmp_path_factory.mktemp("release"))[1]


def test_a_failed_assertion_is_an_error_at_its_line(report: Report) -> None:
    first = github.render(report, PLACES).splitlines()[0]
    where = "file=specs/gates/demo.yaml,line=42,title=C4 demo"
    assert first.startswith(f"::error {where}::FAIL: everything is answered soon: expected every")


def test_missing_gates_are_one_warning_and_the_verdict_comes_last(report: Report) -> None:
    lines = github.render(report, PLACES).splitlines()
    about_missing = [line for line in lines if "missing" in line]
    assert about_missing == [
        "::warning file=specs/release.yaml,line=1,title=2 gates are missing::there are no such gates yet: F01, B1"
    ]
    assert lines[-1] == "::error title=v9.9.0%3A HOLD::failed: C4 demo"


def test_a_promotion_is_a_notice() -> None:
    gate = msgspec.structs.replace(missing("A1", "a"), status="PASS")
    report = report_of([gate], verdict="PROMOTE", reason="all pass", invariants=[])
    assert github.render(report, PLACES) == "::notice title=v9.9.0%3A PROMOTE::all pass\n"


def test_an_unproven_gate_is_a_warning() -> None:
    gate = msgspec.structs.replace(missing("A1", "a"), status="PASS", proven=False, unproven="why")
    lines = github.render(report_of([gate], invariants=[]), PLACES).splitlines()
    assert lines[0] == "::warning file=specs/release.yaml,line=1,title=A1 a::unproven: why"


def test_no_text_begins_a_command_of_its_own(tmp_path: Path) -> None:
    hostile = hostile_release(tmp_path)[1]
    evil = "x\n::set-output name=a::b\r::error::%0A"
    gates = [msgspec.structs.replace(hostile.gates[0], detail=evil, unproven=evil, name="a,b:c")]
    lines = github.render(report_of(gates, reason=evil), PLACES).split("\n")
    assert lines.pop() == ""
    assert all(line.startswith(("::error ", "::warning ")) for line in lines)
    assert not [line for line in lines if "\r" in line]
    assert "%250A" in lines[-1]
    assert "a%2Cb%3Ac" in lines[0]

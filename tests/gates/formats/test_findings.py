"""Which reasons a report has."""

import msgspec
import pytest

from gates.formats.findings import findings
from gates.release.report import AssertionReport, GateReport
from tests.gates.html.releases import missing, report_of


def asserted(that: str, status: str) -> AssertionReport:
    return AssertionReport(
        that=that,
        status=status,  # type: ignore[arg-type]
        measured=None,
        expectation="",
        population=None,
        at_least=1,
        violating=None,
        rows=[],
        sql="",
        why=None,
        falsified_by=[],
        killed_by_sham=False,
    )


def gate(status: str, *statuses: str) -> GateReport:
    asserts = [asserted(f"a{index}", own) for index, own in enumerate(statuses)]
    return msgspec.structs.replace(missing("A1", "a"), status=status, assertions=asserts)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (gate("PASS", "PASS"), []),
        (gate("SKIP"), []),
        (gate("MISSING"), [("warning", None)]),
        (gate("FAIL", "PASS", "FAIL", "UNKNOWN"), [("error", "a1"), ("warning", "a2")]),
        # A run that cannot be used says it once, not once per assertion.
        (gate("UNKNOWN", "UNKNOWN", "UNKNOWN"), [("warning", None)]),
        (gate("UNKNOWN", "PASS", "UNKNOWN"), [("warning", None), ("warning", "a1")]),
        (gate("UNKNOWN", "PASS", "PASS"), [("warning", None)]),
    ],
)
def test_a_gate_gives_its_reasons(
    entry: GateReport, expected: list[tuple[str, str | None]]
) -> None:
    found = findings(report_of([entry], invariants=[]))
    assert [(finding.severity, finding.that) for finding in found] == expected

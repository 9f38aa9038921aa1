"""Differences of reports: what was loosened is told from what was tightened, and flagged."""

from pathlib import Path

import msgspec
import pytest

from gates.cli import main
from gates.release.report import GateReport, Report
from gates.release.stored import stored_report
from gates.spec.assertion import Named
from gates.verify.diff import Change, bound_change, compare
from gates.verify.diff_render import as_json, as_markdown, as_text
from tests.gates.conftest import Made


@pytest.fixture
def report(made: Made) -> Report:
    return stored_report(made.directory)


def with_gate(report: Report, **changes: object) -> Report:
    """The same report with another version of its gate `first`."""
    gates = [
        msgspec.structs.replace(gate, spec_sha256="another", **changes)
        if gate.name == "first"
        else gate
        for gate in report.gates
    ]
    return msgspec.structs.replace(report, gates=gates)


def first(report: Report) -> GateReport:
    return next(gate for gate in report.gates if gate.name == "first")


def with_assertion(report: Report, number: int, **changes: object) -> Report:
    """The same report with something changed in how an assertion is written."""
    gate = first(report)
    assertions = list(gate.assertions)
    old = assertions[number]
    assert old.spec is not None
    least = {"at_least": changes["at_least"]} if "at_least" in changes else {}
    assertions[number] = msgspec.structs.replace(
        old, spec=msgspec.structs.replace(old.spec, **changes), **least
    )
    return with_gate(report, assertions=assertions)


def changes(before: Report, after: Report) -> list[tuple[str, str]]:
    return [(change.direction, change.what) for change in compare(before, after).changes]


def test_nothing_changed(report: Report) -> None:
    found = compare(report, report)
    assert found.changes == [] and as_text(found).endswith("nothing changed")


@pytest.mark.parametrize(
    ("before", "after", "direction"),
    [
        (">= 0.9", ">= 0.8", "loosened"),
        (">= 0.9", "> 0.9", "tightened"),
        ("> 0.9", ">= 0.9", "loosened"),
        ("<= 500", "<= 700", "loosened"),
        ("<= 500", "< 500", "tightened"),
        ("< 1e3", "< 2_000", "loosened"),
        ("= 1", ">= 1", "loosened"),
        (">= 1", "= 1", "tightened"),
        ("between 1 and 2", "between 0.5 and 2", "loosened"),
        ("between 1 and 2", "between 1.5 and 2.5", "unclear"),
        ("between 1 and 2", "= 1", "tightened"),
        (">= 1", "<= 1", "unclear"),
        ("= 1", "= 2", "unclear"),
        (">= 1", ">= 1.0", "changed"),
        ("= (select 1)", "= (select 2)", "unclear"),
        (">= -1", ">= -2", "loosened"),
    ],
)
def test_bounds(before: str, after: str, direction: str) -> None:
    assert bound_change(before, after) == direction


@pytest.mark.parametrize(
    ("number", "edit", "direction", "what"),
    [
        (0, {"at_least": 9}, "loosened", "all is well: at_least"),
        (0, {"at_least": 11}, "tightened", "all is well: at_least"),
        (0, {"from_": "requests"}, "unclear", "all is well: from"),
        (0, {"every": "status < 500"}, "unclear", "all is well: every"),
        (0, {"every": None, "none": "status = 500"}, "unclear", "all is well: sort of test"),
        (0, {"killed_by_sham": True}, "changed", "all is well: killed_by_sham"),
        (1, {"is_": ">= 0.5"}, "loosened", "most are good: is"),
        (1, {"share": "true"}, "unclear", "most are good: share"),
    ],
)
def test_assertions(
    report: Report, number: int, edit: dict[str, object], direction: str, what: str
) -> None:
    assert (direction, what) in changes(report, with_assertion(report, number, **edit))


def test_every_became_share(report: Report) -> None:
    weaker = with_assertion(report, 0, every=None, share="status = 200", is_=">= 0.5")
    assert ("loosened", "all is well: sort of test") in changes(report, weaker)


def test_assertions_that_came_and_went(report: Report) -> None:
    less = with_gate(report, assertions=first(report).assertions[1:])
    assert changes(report, less) == [("loosened", "assertion removed: all is well")]
    assert changes(less, report) == [("tightened", "assertion added: all is well")]


def test_gates_that_came_and_went(report: Report) -> None:
    less = msgspec.structs.replace(report, gates=report.gates[:1])
    assert changes(report, less) == [("loosened", "the gate was removed")]
    assert changes(less, report) == [("tightened", "the gate is new")]


def test_statuses_and_proofs(report: Report) -> None:
    worse = with_gate(report, status="FAIL", proven=False)
    found = changes(report, worse)
    assert ("worse", "status") in found and ("worse", "proven") in found
    assert ("better", "status") in changes(worse, report)


@pytest.mark.parametrize(
    ("edit", "direction", "what"),
    [
        ({"config": {"breaker": {"open_for_s": 9}}}, "unclear", "configuration"),
        ({"queries": {}}, "changed", "query answers was removed"),
        ({"defects": []}, "loosened", "defect removed: all is refused"),
        ({"class_": "floor"}, "unclear", "class"),
        ({"severity": "minor"}, "unclear", "severity"),
        ({"title": "u"}, "changed", "title"),
        ({}, "unclear", "its steps, data or frame changed"),
    ],
)
def test_gates(report: Report, edit: dict[str, object], direction: str, what: str) -> None:
    assert (direction, what) in changes(report, with_gate(report, **edit))


def test_queries(report: Report) -> None:
    queries = {**first(report).queries, "answers": Named(query="select 1", at_least=1)}
    found = changes(report, with_gate(report, queries=queries))
    assert found == [("unclear", "query answers"), ("loosened", "query answers: at_least")]


@pytest.mark.parametrize(
    ("edit", "direction", "what"),
    [
        ({"fails": ["all is well"]}, "loosened", "fails"),
        ({"may_fail": ["most are good"]}, "loosened", "may_fail"),
        ({"racing": True}, "tightened", "racing"),
        ({"diff": "another"}, "changed", "edit"),
    ],
)
def test_defects(report: Report, edit: dict[str, object], direction: str, what: str) -> None:
    (defect,) = first(report).defects
    after = with_gate(report, defects=[msgspec.structs.replace(defect, **edit)])
    assert changes(report, after) == [(direction, f"defect all is refused: {what}")]


def test_gates_that_were_not_run_are_not_compared_by_their_text(report: Report) -> None:
    absent = msgspec.structs.replace(
        report,
        gates=[
            msgspec.structs.replace(gate, status="SKIP", spec_sha256=None, assertions=[])
            for gate in report.gates
        ],
    )
    assert changes(report, absent) == [("worse", "status"), ("worse", "status")]


def test_invariants(report: Report) -> None:
    less = msgspec.structs.replace(report, invariants=report.invariants[1:], verdict="HOLD")
    assert changes(report, less) == [
        ("worse", "verdict"),
        ("loosened", "invariant complete was removed"),
    ]


def test_forms(report: Report) -> None:
    found = compare(report, with_assertion(report, 1, is_=">= 0.5", share="a | b"))
    assert "⚠ loosened  most are good: is: >= 0.9 → >= 0.5" in as_text(found)
    assert "a \\| b" in as_markdown(found)
    said = msgspec.json.decode(as_json(found))
    assert said["flagged"] == 2
    assert [change["flagged"] for change in said["changes"]] == [True, True]


def test_exit_codes(made: Made, tmp_path: Path, report: Report) -> None:
    path = str(made.directory)
    assert main(["diff", path, f"{path}/gate-report.json"]) == 0
    new = tmp_path / "new.json"
    new.write_bytes(msgspec.json.encode(with_assertion(report, 0, at_least=1)))
    assert main(["diff", path, str(new), "--format", "markdown"]) == 1
    assert main(["diff", str(new), path, "--format", "json"]) == 0
    assert main(["diff", path, str(tmp_path / "none")]) == 4


def test_what_is_flagged() -> None:
    flagged = {
        direction
        for direction in ("loosened", "tightened", "unclear", "worse", "better", "changed")
        if Change(gate=None, direction=direction, what="", before=None, after=None).flagged  # type: ignore[arg-type]
    }
    assert flagged == {"loosened", "unclear"}


def test_gates_that_were_rewritten_are_shown_with_the_reason_of_each(report: Report) -> None:
    rewritten = with_gate(report, title="otherwise")
    gone = msgspec.structs.replace(
        rewritten, gates=[gate for gate in rewritten.gates if gate.name != "second"]
    )
    reasoned = msgspec.structs.replace(gone, reasons={"first": "its claim\nwas too weak"})
    found = compare(report, reasoned)
    assert [(one.gate, one.reason) for one in found.rewritten] == [
        ("F1 second", None),
        ("A1 first", "its claim\nwas too weak"),
    ]
    for text in (as_text(found), as_markdown(found)):
        assert "its claim was too weak" in text
        assert "release.yaml gives no reason" in text
    assert compare(report, report).rewritten == []


def test_a_gate_that_was_not_run_is_not_called_rewritten(report: Report) -> None:
    assert compare(report, with_gate(report)).rewritten != []
    skipped = with_gate(report)
    gates = [msgspec.structs.replace(gate, spec_sha256=None) for gate in skipped.gates]
    assert compare(report, msgspec.structs.replace(skipped, gates=gates)).rewritten == []

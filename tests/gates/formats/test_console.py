"""What the console says of gates that do not pass: each reason once."""

import html
import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from rich.console import Console

from gates.formats import console as render
from gates.formats import github, markdown, sarif
from gates.formats.console import commit_line, junit
from gates.formats.places import Places
from gates.html import page
from gates.release.report import GateAttempt, GateReport, MissingProofs
from tests.gates.html.releases import missing, release, report_of


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
    assert "FAIL  C4  demo  2 PASS, 1 FAIL  below 87 %       1.2 to 2.0, median 2.0" in said
    assert "assertions over" not in said


def test_a_gate_that_is_missing_is_skipped_and_says_why() -> None:
    suite = ET.fromstring(junit(report_of([missing("A1", "a"), missing("A2", "b")])))
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "2",
        "failures": "0",
        "errors": "0",
        "skipped": "2",
    }
    assert [skipped.get("message") for skipped in suite.iter("skipped")] == [
        "there is no such gate yet"
    ] * 2


BESIDE = [
    "flaky, failed before at the same inputs: a",
    "the ledger of attempts cannot be relied on",
]
LACKING = MissingProofs(gates=["A1 a"], trials=2, command="nox -s prove", about_s=5.0)


@pytest.mark.parametrize("form", ["markdown", "html", "github", "sarif"])
def test_every_reason_of_the_banner_is_among_what_holds_it(form: str, tmp_path: Path) -> None:
    gate = msgspec.structs.replace(missing("A1", "a"), status="PASS", proven=None)
    report = report_of([gate], verdict="HOLD", beside=BESIDE, missing_proofs=LACKING)
    places = Places(None, {}, {})
    if form == "markdown":
        said = markdown.render(report).partition("What holds it")[2].partition("<details>")[0]
    elif form == "html":
        page_of = html.unescape(page.render(tmp_path, report, None, {}))
        said = page_of.partition('id="holds"')[2].partition("</section>")[0]
    elif form == "github":
        said = github.render(report, places)
    else:
        said = sarif.render(report, places, None).decode()
    plain = re.sub(r"<[^>]*>|\\", "", said)
    for reason in (*BESIDE, "committed", "complete"):
        assert reason in plain, reason
    if form in ("markdown", "html"):
        assert "nox -s prove" in plain
    assert "release.yaml" not in plain


@pytest.mark.parametrize(
    ("commit", "dirty", "said"),
    [
        (None, True, "no commit: git knows nothing of these files"),
        ("c0ffee" * 6, True, "commit c0ffeec0ffee with uncommitted changes"),
        ("c0ffee" * 6, False, "commit c0ffeec0ffee"),
    ],
)
def test_without_git_there_is_no_commit_to_have_changed(
    commit: str | None, dirty: bool, said: str
) -> None:
    report = report_of([missing("A1", "a")], commit=commit, dirty=dirty)
    assert commit_line(report) == said
    assert markdown.text(said) + ", " in markdown.render(report)

"""The whole page: complete, escaped, self-contained, and never in the way of a verdict."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from gates.html import page, rendering
from gates.release import rejudge
from gates.release.report import (
    AttemptReport,
    GateAttempt,
    LedgerReport,
    Made,
    MissingProofs,
    Report,
    WaiverReport,
)
from tests.gates.html.releases import (
    HOSTILE,
    defect_report,
    hostile_gate,
    hostile_release,
    judged_gate,
    missing,
    release,
    report_of,
)

VOID = {"meta", "link", "input", "img", "br", "hr", "use", "path", "rect", "line", "circle"}


class Page(HTMLParser):
    """Elements with their attributes, ids, text by element, and what is not nested well."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.wrong += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open[-1:]):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str]:
        return [found for _, attributes in self.elements if (found := attributes.get("id"))]

    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


JUDGED = {"demo": judged_gate()}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(tmp_path_factory.mktemp("release"))[0]


@pytest.fixture(scope="module")
def rendered(directory: Path) -> str:
    return page.render(directory, rejudge.stored_report(directory), None, JUDGED)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory, report = hostile_release(tmp_path_factory.mktemp("hostile"))
    return page.render(
        directory,
        report,
        report_of([missing(HOSTILE, HOSTILE)], version=HOSTILE),
        {"demo": hostile_gate()},
    )


def test_the_verdict_and_its_reason_stand_first(rendered: str) -> None:
    said = Page(rendered).said()
    assert said.index("HOLD") < said.index("failed: C4 demo") < said.index("What holds it")


def test_scores_count_floor_delta_and_invariants(rendered: str) -> None:
    said = Page(rendered).said()
    assert re.search(r"Floor .{0,60}0 of 1 pass", said)
    assert re.search(r"Delta .{0,60}0 of 2 pass", said)
    assert re.search(r"Invariants .{0,60}1 of 3 hold", said)


def test_a_gate_shows_all_that_was_found_of_it(rendered: str) -> None:
    said = Page(rendered).said()
    for expected in (
        "everything is answered soon",
        "every row has service_ms < 200",
        "over 200 rows (at least 100)",
        "most are answered",
        "the share of rows with status < 500 is >= 0.9",
        "5 of 49 violating rows",
        "SELECT count(*)",
        "select * from requests where service_ms > 100",
        "outage : cut on gateway->memory",
        "On at 2.9 s, proven at 3 s, asked off at 5 s, clean at 5.1 s.",
        "refused (new)",
        "a defect in service/turns.py",
        "+ bad()",
        "Found: “everything is answered soon”: 3 of 9 rows violating it",
        "nox -s gates -- C4",
        "breaker.open_for_s 0.3",
    ):
        assert " ".join(expected.split()) in said, expected


def test_each_gate_has_an_entry_and_each_link_a_target(rendered: str) -> None:
    found = Page(rendered)
    ids = found.ids()
    assert len(ids) == len(set(ids))
    assert {"gate-c4-demo", "gate-f01-file-exists", "gate-b1-restore"} <= set(ids)
    targets = [str(link["href"]).removeprefix("#") for link in found.all("a")]
    assert set(targets) <= set(ids)
    uses = [str(use["href"]).removeprefix("#") for use in found.all("use")]
    assert set(uses) <= set(ids)


def test_markup_is_well_nested(rendered: str, hostile: str) -> None:
    assert Page(rendered).wrong == []
    assert Page(hostile).wrong == []


def test_nothing_is_loaded_from_anywhere(rendered: str, hostile: str) -> None:
    for html in (rendered, hostile):
        for tag, attributes in Page(html).elements:
            assert tag not in ("img", "iframe", "object", "embed", "base")
            assert not {"src", "srcset", "xlink:href", "action"} & set(attributes), tag
            assert str(attributes.get("href", "#")).startswith(("#", "data:,")), attributes
            assert not [name for name in attributes if name.startswith("on")], attributes
        style = html[html.index("<style>") : html.index("</style>")]
        assert "url(" not in style
        assert "@import" not in style


def test_the_policy_allows_the_one_script_and_nothing_else(rendered: str) -> None:
    (policy,) = [
        str(meta["content"])
        for meta in Page(rendered).all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    script = rendered[rendered.index("<script>") + 8 : rendered.rindex("</script>")]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{rendering._source_hash(script)}'" in policy


def test_hostile_texts_stay_text(hostile: str) -> None:
    found = Page(hostile)
    assert len(found.all("script")) == 1
    assert not found.all("b")
    assert "49" not in re.findall(r"onerror='alert\(1\)'>(\d+)", found.said())
    # They are there, to be read: in the title, the rows, the SQL, the fault and the defect.
    assert found.said().count("<script>alert") > 20


def test_a_hostile_id_is_a_plain_anchor(hostile: str) -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", found) for found in Page(hostile).ids())


def test_changes_since_the_last_release_are_shown(directory: Path) -> None:
    report = rejudge.stored_report(directory)
    gates = [*report.gates[1:], missing("F09", "gone")]
    said = Page(page.render(directory, report, report_of(gates, version="v9.8.0"), JUDGED)).said()
    assert "Since v9.8.0 (HOLD, 2026-01-02 03:04 UTC):" in said
    assert "F09 gone the gate was removed" in said
    assert "F01 file-exists the gate is new" in said


def test_a_promoted_release_has_nothing_that_holds_it(directory: Path) -> None:
    report = msgspec.structs.replace(
        rejudge.stored_report(directory), verdict="PROMOTE", exit_code=0, gates=[], invariants=[]
    )
    found = Page(page.render(directory, report, None, JUDGED))
    assert "What holds it" not in found.said()
    assert "verdict-promote" in str(found.all("header")[0]["class"])


def test_an_unproven_gate_holds_though_it_passes(directory: Path) -> None:
    report = rejudge.stored_report(directory)
    gate = msgspec.structs.replace(
        report.gates[1], status="PASS", proven=False, unproven="nothing kills this"
    )
    said = Page(page.render(directory, report_of([gate]), None, JUDGED)).said()
    # Once among what holds the release, once at the gate itself.
    assert said.count("nothing kills this") == 2


def test_waivers_and_the_ledger_are_shown(directory: Path) -> None:
    waiver = WaiverReport(
        file="w.yaml",
        gate="demo",
        reason="we know",
        by="me",
        expires="2026-02-01",
        valid=False,
        why="no key",
    )
    ledger = LedgerReport(lines=3, head="ab", problem="a line was removed")
    attempt = AttemptReport(
        session="s0",
        at="2026-01-01T00:00:00+00:00",
        ended=True,
        failed=["demo"],
        unknown=[],
        differs=["lock"],
    )
    report = msgspec.structs.replace(
        rejudge.stored_report(directory),
        waivers=[waiver],
        ledger=ledger,
        attempts=[attempt],
    )
    said = Page(page.render(directory, report, None, JUDGED)).said()
    assert "not valid demo : we know, by me, until 2026-02-01 (no key)" in said
    assert "ledger a line was removed" in said
    assert "s0 : failed demo (other lock)" in said


def test_every_attempt_of_a_repeated_gate_is_shown(directory: Path) -> None:
    gate = rejudge.stored_report(directory).gates[1]
    slow = GateAttempt(
        attempt=1, run_id="run-1", status="UNKNOWN", cause="host", detail="sent late", duration_s=2.0, evidence={}
    )  # fmt: skip
    last = msgspec.structs.replace(slow, attempt=2, run_id="run-2", status="PASS", cause=None)
    repeated = msgspec.structs.replace(gate, attempts=[slow, last])
    said = Page(page.render(directory, report_of([repeated]), None, JUDGED)).said()
    assert "Run 2 times, because the host was slow; the last attempt counts." in said
    assert "sent late run run-1 , 2.0 s" in said


def test_a_defect_that_was_not_tried_is_not_called_proven(directory: Path) -> None:
    report = rejudge.stored_report(directory)
    gate = msgspec.structs.replace(
        report.gates[1], defects=[defect_report(proven=None, diff="", measured={})]
    )
    said = Page(page.render(directory, report_of([gate]), None, JUDGED)).said()
    assert "Not proven: its defects were not tried." in said
    assert "not tried a defect" in said


def test_proofs_that_are_missing_are_named_with_what_makes_them(directory: Path) -> None:
    lacking = MissingProofs(gates=["C4 demo"], trials=7, command="nox -s prove", about_s=200.0)
    report = msgspec.structs.replace(rejudge.stored_report(directory), missing_proofs=lacking)
    said = Page(page.render(directory, report, None, JUDGED)).said()
    wanted = "7 trials of 1 gate are missing: nox -s prove makes them in about 3 min"
    assert wanted in said, said


def test_when_and_where_a_proof_was_made_is_told(directory: Path) -> None:
    report = rejudge.stored_report(directory)
    made = Made(at="2026-11-29T10:41:05+00:00", host="build-3")
    own = defect_report()
    gate = msgspec.structs.replace(
        report.gates[1], proven=True, defects=[own], made={own.defect: made, "control": made}
    )
    said = Page(page.render(directory, report_of([gate]), None, JUDGED)).said()
    assert "tried 2026-11-29 10:41 UTC on build-3" in said
    assert "Without a defect it was run 2026-11-29 10:41 UTC on build-3." in said


def test_runs_of_the_same_gate_have_anchors_of_their_own(directory: Path) -> None:
    gate = rejudge.stored_report(directory).gates[1]
    ids = Page(page.render(directory, report_of([gate, gate, gate]), None, JUDGED)).ids()
    assert len(ids) == len(set(ids))
    assert "gate-c4-demo-run-3" in ids


def test_without_evidence_the_report_is_shown_all_the_same(tmp_path: Path, directory: Path) -> None:
    report = rejudge.stored_report(directory)
    html = page.render(tmp_path, report, None, JUDGED)
    assert 'class="scroll picture"' not in html
    assert "everything is answered soon" in html
    assert "Evidence that could not be drawn" in html


def test_a_page_of_a_whole_release_is_small(directory: Path) -> None:
    gate = rejudge.stored_report(directory).gates[1]
    wide = msgspec.structs.replace(gate, assertions=gate.assertions * 4)
    assert len(page.render(directory, report_of([wide] * 66), None, JUDGED).encode()) < 3_000_000


def test_the_page_is_the_same_every_time(directory: Path, rendered: str) -> None:
    assert page.render(directory, rejudge.stored_report(directory), None, JUDGED) == rendered


def test_any_text_is_escaped_wherever_it_stands(
    directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One field after the other, so that a single forgotten place is found."""
    report = rejudge.stored_report(directory)
    for changed in texts_replaced(report):
        assert (
            len(
                Page(page.render(tmp_path_factory.getbasetemp(), changed, None, JUDGED)).all(
                    "script"
                )
            )
            == 1
        )


def texts_replaced(report: Report) -> Iterator[Report]:
    """The report with all texts of one kind of place replaced."""
    plain = msgspec.to_builtins(report)
    changes: list[Callable[[dict[str, object]], None]] = [
        lambda p: p.update(reason=HOSTILE),
        lambda p: p["gates"][1].update(title=HOSTILE, detail=HOSTILE),  # type: ignore[index]
        lambda p: p["gates"][1]["assertions"][0].update(  # type: ignore[index]
            that=HOSTILE, sql=HOSTILE, why=HOSTILE, rows=[{HOSTILE: HOSTILE}], measured=HOSTILE
        ),
        lambda p: p["gates"][1]["faults"][0].update(why=HOSTILE, kind=HOSTILE, attributes=HOSTILE),  # type: ignore[index]
    ]
    for change in changes:
        copy = msgspec.json.decode(msgspec.json.encode(plain))
        change(copy)
        yield msgspec.convert(copy, Report)

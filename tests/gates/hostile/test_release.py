"""Somebody wants a green release: by what was run, by what is shipped, and by running it again."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gates.commands.verify import policy_digest
from gates.judge.connection import Evidence
from gates.judge.integrity import release_problems
from gates.prove.jobs import Job, key_of
from gates.release import ledger, statements
from gates.release.conclude import conclude
from gates.release.own_runs import planned_steps, strangers
from gates.release.report import EXIT_PROMOTE, InvariantReport, Report, absent, decide, summarise
from gates.release.signing import read_public
from gates.release.specs import RELEASE as POLICY
from gates.release.specs import Specs
from gates.release.stored import stored_report
from gates.run.session import Options, Session
from gates.spec.project import Project
from gates.spec.release import ListedGate
from gates.verify.verify import Expected, verify
from tests.builders.small_release import GATE, RELEASE, TARGET, SmallRelease, reread
from tests.gates.conftest import Made
from tests.gates.hostile.forging import Columns, ForgedRelease, Twist, exercise, twisted
from tests.gates.tampering import close_again, edit, edit_json, edit_table, problems

Json = dict[str, object]
NO_INVARIANTS = re.sub(r"invariants:\n(  - .*\n)+", "invariants: []\n", RELEASE)


def held(report: Report) -> bool:
    return report.verdict == "HOLD" and report.exit_code != EXIT_PROMOTE


# -- what was run

ANOTHER_TARGET = {"specs/targets/fake.yaml": TARGET.replace("target: shop", "target: fake")}


def yesterday(_gate: str, columns: Columns, _digests: dict[str, str]) -> None:
    columns["epoch_ms"] = float(str(columns["epoch_ms"])) - 86_400_000


def a_lucky_seed(_gate: str, columns: Columns, _digests: dict[str, str]) -> None:
    columns["seed"] = 99


def fewer_steps(_gate: str, columns: Columns, _digests: dict[str, str]) -> None:
    columns["planned"] = ["control.0"]


def a_fake(_gate: str, columns: Columns, _digests: dict[str, str]) -> None:
    columns["target"] = "fake"


def nothing_recorded(_gate: str, _columns: Columns, digests: dict[str, str]) -> None:
    for name in ("source", "harness", "lock", "release", "toxiproxy"):
        digests.pop(name)


def no_source(_gate: str, _columns: Columns, digests: dict[str, str]) -> None:
    digests.pop("source")


def two_sources(gate: str, _columns: Columns, digests: dict[str, str]) -> None:
    digests["source"] = gate * 8


def another_source(_gate: str, _columns: Columns, digests: dict[str, str]) -> None:
    digests["source"] = "f" * 64


def another_harness(_gate: str, _columns: Columns, digests: dict[str, str]) -> None:
    digests["harness"] = "f" * 64


def another_gate(gate: str, _columns: Columns, digests: dict[str, str]) -> None:
    digests["gate"] = "f" * 64


def a_defect(_gate: str, columns: Columns, _digests: dict[str, str]) -> None:
    columns["mode"] = "defect"


TOLD: dict[Twist, str] = {
    yesterday: "it was run before this session began",
    a_lucky_seed: "it was run with seed 99, not 46",
    fewer_steps: "it set out to do other steps than the gate has",
    a_fake: "it was run on fake, not on shop",
    nothing_recorded: "it did not record its harness",
    no_source: "it did not record its source",
    two_sources: "source of shop is not the same in all runs",
    another_source: "source of shop is not what is shipped",
    another_harness: "harness of shop is not what is shipped",
}
HELD = [yesterday, two_sources, another_gate, a_defect]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallRelease, Session, Project]:
    """A session of a small release in which nothing has been run yet."""
    project = SmallRelease(tmp_path_factory.mktemp("plain") / "shop", ANOTHER_TARGET)
    return project, *project.session()


@pytest.mark.parametrize(("twist", "said"), TOLD.items())
def test_what_is_told_of_runs_that_are_not_the_sessions_own(
    plain: tuple[SmallRelease, Session, Project],
    tmp_path: Path,
    sealed: Callable[..., Evidence],
    twist: Twist,
    said: str,
) -> None:
    _, session, specs = plain
    whole = Specs(gates=specs.gates, targets=specs.targets, judged={}, release=None, files={})

    def told(by: Twist, place: Path) -> str:
        for name, gate in specs.gates.items():
            twisted(by, place / name, session, specs, gate, 200)
        evidence = sealed(*(place / name for name in specs.gates))
        found = strangers(evidence, session, whole, frozenset())
        return "; ".join([*found, *release_problems(evidence, session.digests)])

    assert told(lambda *_: None, tmp_path / "as it was") == ""
    assert said in told(twist, tmp_path / "twisted")


@pytest.mark.parametrize("twist", HELD)
def test_runs_that_are_not_the_sessions_own(tmp_path: Path, twist: Twist) -> None:
    """Not even where the policy asks for nothing."""
    changes = {**ANOTHER_TARGET, "specs/release.yaml": NO_INVARIANTS}
    project = ForgedRelease(tmp_path / "shop", twist, changes)
    assert held(project.release())


def test_without_a_twist_it_is_promoted(tmp_path: Path) -> None:
    """Else no case above would have shown anything."""
    changes = {**ANOTHER_TARGET, "specs/release.yaml": NO_INVARIANTS}
    report = ForgedRelease(tmp_path / "shop", lambda *_: None, changes).release()
    assert report.verdict == "PROMOTE", report.reason


def test_a_policy_that_asks_for_nothing_still_wants_a_committed_source(
    tmp_path: Path,
) -> None:
    project = SmallRelease(tmp_path / "shop", {"specs/release.yaml": NO_INVARIANTS})
    path = project.root / "shop" / "app.py"
    path.write_text(path.read_text() + "# not committed\n")
    report = project.release()
    assert held(report)
    assert report.reason == "what was run is not committed"


def test_a_policy_without_gates_still_wants_proofs(tmp_path: Path) -> None:
    policy = re.sub(r"gates:\n(  - .*\n)+", "gates: []\n", NO_INVARIANTS)
    policy = policy.replace("target: shop", "target: other").replace(": 1\n", ": 0\n")
    report = SmallRelease(tmp_path / "shop", {"specs/release.yaml": policy}).release(prove=False)
    assert held(report)
    assert "proofs are missing" in report.reason


def test_evidence_of_an_earlier_session(tmp_path: Path) -> None:
    """A run that went well once is put in the place of one that does not."""
    project = SmallRelease(tmp_path / "shop")
    project.release(prove=False)
    (earlier,) = [path for path in (project.root / "runs").glob("*Z-*") if path.is_dir()]
    session, specs = project.session()
    for name in session.gates:
        shutil.copytree(earlier / "gates" / "0" / name, session.gate_directory(name, 0))
    project.prove(session, specs)
    report, _ = conclude(session, project.releases, interrupted=False)
    assert held(report)
    assert "before this session began" in str(report.invariants)


CONTRACT = RELEASE.replace(
    "invariants:\n", "invariants:\n  - {id: api, statement: The API is the same, check: contract}\n"
)


@pytest.mark.parametrize("ended", [True, False])
def test_a_contract_that_was_compared_in_a_run_that_was_cut_off(
    tmp_path: Path, ended: bool
) -> None:
    project = SmallRelease(tmp_path / "shop", {"specs/release.yaml": CONTRACT})
    session, specs = project.session()
    exercise(session, ended=ended)
    for name in session.gates:
        project.record(session.gate_directory(name, 0), session, specs, specs.gates[name], 200)
    report, _ = conclude(session, project.releases, interrupted=False)
    (api,) = [one for one in report.invariants if one.id == "api"]
    assert api.holds is (True if ended else None)
    assert held(report)


# -- parts of a release


@pytest.mark.parametrize(
    "changes",
    [
        {"only": ("first",)},
        {"part": "floor"},
        {"part": "delta"},
        {"expression": "first"},
        {"repeat": 2},
    ],
    ids=str,
)
def test_a_part_of_a_release_is_none(changes: dict[str, object]) -> None:
    assert not Options(specs="specs", **changes).full  # type: ignore[arg-type]


def test_a_partial_run_that_claims_the_whole(made: Made) -> None:
    report = stored_report(made.directory)
    good = (report.gates, report.invariants, [])
    assert decide(*good, partial=False)[0] == "PROMOTE"
    assert decide(*good, partial=True)[:2] == ("HOLD", 2)
    assert decide([], [], [], partial=False)[:2] == ("HOLD", 2)
    assert decide([], report.invariants, [], partial=False)[0] == "HOLD"


@pytest.mark.parametrize("status", ["FAIL", "UNKNOWN", "SKIP", "MISSING"])
@pytest.mark.parametrize("severity", ["blocker", "major", "minor"])
def test_a_single_gate_holds_whatever_its_severity(made: Made, status: str, severity: str) -> None:
    report = stored_report(made.directory)
    bad = msgspec.structs.replace(report.gates[0], status=status, severity=severity)
    assert decide([bad, *report.gates[1:]], report.invariants, [], partial=False)[0] == "HOLD"


@pytest.mark.parametrize("holds", [False, None])
def test_a_single_invariant_holds(made: Made, holds: bool | None) -> None:
    report = stored_report(made.directory)
    bad = InvariantReport(id="x", statement="", holds=holds, detail="")
    assert decide(report.gates, [bad], [], partial=False)[0] == "HOLD"


def attested(report: Report) -> statements.TestResult:
    """What is attested of a report whose wheel is not looked at."""
    no_wheel = statements.WheelVerdict(name=None, sha256=None, is_running_code=False, why=None)
    verdict = statements._verdict(report, no_wheel, "")
    return statements._test_result(report, verdict, needs_proofs=True)


@pytest.mark.parametrize("status", ["UNKNOWN", "SKIP", "MISSING", "FAIL"])
def test_what_was_not_measured_is_among_the_failed_tests(made: Made, status: str) -> None:
    report = stored_report(made.directory)
    gone = absent(ListedGate(id="A9", gate="gone", class_="delta", since="v1"), "MISSING", "")
    gates = [*report.gates, msgspec.structs.replace(gone, status=status)]
    changed = msgspec.structs.replace(report, gates=gates, summary=summarise(gates))
    said = attested(msgspec.structs.replace(changed, verdict="HOLD"))
    assert (said.result, said.failed_tests) == ("FAILED", ["A9 gone"])
    with pytest.raises(AssertionError, match="nothing that failed"):
        attested(changed)


def test_a_gate_that_is_not_proven_is_among_the_failed_tests(made: Made) -> None:
    report = stored_report(made.directory)
    for proven in (None, False):
        first = msgspec.structs.replace(report.gates[0], proven=proven)
        gates = [first, *report.gates[1:]]
        said = attested(msgspec.structs.replace(report, gates=gates, verdict="HOLD"))
        assert said.result == "FAILED"
        assert f"{first.id} {first.name}" in said.failed_tests


# -- what is shipped of a release that failed


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> SmallRelease:
    """A release of which one gate failed."""
    project = SmallRelease(tmp_path_factory.mktemp("failed") / "shop")
    assert held(project.release(lambda gate: 500 if gate == "first" else 200))
    return project


@pytest.fixture
def wanted(failed: SmallRelease, tmp_path: Path) -> Path:
    directory = tmp_path / "v1"
    shutil.copytree(failed.directory, directory)
    return directory


def first_of(report: Json) -> Json:
    return next(gate for gate in report["gates"] if gate["name"] == "first")  # type: ignore[attr-defined, no-any-return]


def promote(report: Json) -> None:
    report |= {"verdict": "PROMOTE", "exit_code": 0, "reason": "all 2 gates pass"}
    report["summary"] |= {"fail": 0, "pass": 2, "delta_pass": 1}  # type: ignore[operator]


def a_verdict(wanted: Path) -> None:
    edit_json(wanted / "gate-report.json", promote)


def a_status(wanted: Path) -> None:
    def change(report: Json) -> None:
        promote(report)
        first_of(report)["status"] = "PASS"

    edit_json(wanted / "gate-report.json", change)


def a_gate_less_in_the_report(wanted: Path) -> None:
    def change(report: Json) -> None:
        promote(report)
        report["gates"] = [gate for gate in report["gates"] if gate["name"] != "first"]  # type: ignore[attr-defined]

    edit_json(wanted / "gate-report.json", change)


def a_gate_less_everywhere(wanted: Path) -> None:
    (wanted / "specs" / "gates" / "a" / "first.yaml").unlink()
    edit_json(wanted / "session.json", lambda session: session.update(gates=["second"]))

    edit(wanted / POLICY, "  - {id: A1, gate: first, class: delta, since: v1}\n", "")
    edit(wanted / POLICY, "delta: 1", "delta: 0")


def other_answers(wanted: Path) -> None:
    edit_table(
        wanted / "evidence/requests.parquet", "SELECT * REPLACE (200::BIGINT AS status) FROM old"
    )


def no_bad_answers(wanted: Path) -> None:
    edit_table(wanted / "evidence/requests.parquet", "FROM old WHERE status = 200")


def no_table(wanted: Path) -> None:
    (wanted / "evidence/requests.parquet").unlink()


def answers_of_the_other_gate(wanted: Path) -> None:
    sql = """
    SELECT o.* REPLACE ('first' AS gate, f.run_id AS run_id) FROM old o, (SELECT DISTINCT run_id FROM old
    WHERE gate = 'first') f WHERE o.gate = 'second' UNION ALL FROM old WHERE gate = 'second'"""
    edit_table(wanted / "evidence/requests.parquet", sql)


def a_run_of_the_proofs(wanted: Path) -> None:
    """The copy without a defect went well: all of its rows are whole, and of this very session."""
    for path in (wanted / "evidence").glob("*.parquet"):
        proven = wanted / "proofs" / "evidence" / path.name
        sql = f"""
        FROM old WHERE gate <> 'first' UNION ALL
        (FROM read_parquet('{proven}') WHERE gate = 'first' AND run_id LIKE '%-None-%')"""
        edit_table(path, sql)


def a_lower_bound(wanted: Path) -> None:
    edit(wanted / "specs/gates/a/first.yaml", "status = 200", "status > 0")


def no_defects(wanted: Path) -> None:
    path = wanted / "specs/gates/a/first.yaml"
    path.write_text(path.read_text().partition("falsified_by:")[0])


def no_failures_in_the_ledger(wanted: Path) -> None:
    path = wanted / ledger.FILE
    path.write_text(path.read_text().replace("FAIL", "PASS"))


def a_baseline(wanted: Path) -> None:
    edit(wanted / "session.json", '"mode": "healthy"', '"mode": "defect"')


def an_error_that_is_excused(wanted: Path) -> None:
    edit(wanted / "conclusion.json", '"interrupted": false', '"interrupted": true')


def an_empty_report(wanted: Path) -> None:
    (wanted / "gate-report.json").write_text("{}")


def no_proofs(wanted: Path) -> None:
    shutil.rmtree(wanted / "proofs")


WISHES = [
    a_verdict, a_status, a_gate_less_in_the_report, a_gate_less_everywhere, other_answers, no_bad_answers, no_table,
    answers_of_the_other_gate, a_lower_bound, no_defects, no_failures_in_the_ledger, a_baseline,
    an_error_that_is_excused, an_empty_report, no_proofs, a_run_of_the_proofs,
]  # fmt: skip


@pytest.mark.parametrize("wish", WISHES)
def test_a_failed_release_is_never_found_promoted(
    failed: SmallRelease, wanted: Path, wish: Callable[[Path], None]
) -> None:
    """Manifest and statements are written again by the real code, and the report where it was not edited itself."""
    before = (wanted / "gate-report.json").read_bytes()
    wish(wanted)
    try:
        close_again(wanted, judge=(wanted / "gate-report.json").read_bytes() == before)
    except Exception:  # noqa: BLE001 - whatever was put there, verifying it must say so
        assert problems(wanted) != {}
    policy = policy_digest(str(failed.specs / "release.yaml"))
    found = verify(wanted, Expected(policy=policy))
    assert found.verdict == "HOLD" or found.flaws


def test_a_run_is_the_releases_or_its_proofs_and_not_both(wanted: Path) -> None:
    a_run_of_the_proofs(wanted)
    close_again(wanted)
    assert held(reread(wanted))


def test_all_of_it_written_anew_is_nobodys(made: Made, copy: Path) -> None:
    """Evidence can be made up with its digests; whoever does that has no key, and no commit."""
    edit_json(copy / "session.json", lambda session: session.update(commit="0" * 40))
    close_again(copy)
    found = verify(copy, Expected())
    assert (found.flaws, found.summary) == ([], "consistent, not authenticated")
    assert problems(copy, Expected(key=read_public(made.public))) != {}
    assert problems(copy, Expected(commit=made.commit)) != {}


def test_a_looser_policy_is_another_policy(made: Made, copy: Path) -> None:
    policy = policy_digest(str(made.project.specs / "release.yaml"))

    path = copy / POLICY
    path.write_text(
        re.sub(r"(?s)invariants:\n.*?limits:", "invariants: []\nlimits:", path.read_text())
    )
    close_again(copy)
    found = problems(copy, Expected(policy=policy))
    assert "it is not the release that was run" in found[POLICY]
    edit_json(
        copy / "session.json",
        lambda s: s["digests"].update(release=policy_digest(str(copy / POLICY))),
    )  # type: ignore[attr-defined]
    close_again(copy)
    assert POLICY in problems(copy, Expected(policy=policy))


@pytest.mark.parametrize(
    ("table", "sql"),
    [
        ("requests", "SELECT * REPLACE (status::DOUBLE AS status) FROM old"),
        ("requests", "SELECT * REPLACE (status::VARCHAR AS status) FROM old"),
        ("requests", "SELECT *, 1 AS more FROM old"),
        ("requests", "FROM old UNION ALL FROM old"),
        ("runs", "FROM old UNION ALL FROM old"),
        ("faults", "SELECT * EXCLUDE (proven) FROM old"),
        ("digests", "FROM old LIMIT 0"),
    ],
)
def test_tables_in_another_form(copy: Path, table: str, sql: str) -> None:
    edit_table(copy / "evidence" / f"{table}.parquet", sql)
    close_again(copy)
    assert held(reread(copy))


def test_proofs_in_another_form(copy: Path) -> None:
    sql = "SELECT * REPLACE (status::DOUBLE AS status) FROM old"
    edit_table(copy / "proofs" / "evidence" / "requests.parquet", sql)
    close_again(copy)
    assert held(reread(copy))


@pytest.mark.parametrize("value", ["nan", "-infinity"])
def test_times_that_are_none(copy: Path, value: str) -> None:
    path = copy / "evidence/requests.parquet"
    edit_table(path, f"SELECT * REPLACE ('{value}'::DOUBLE AS sent_ms) FROM old")
    assert (
        "40 rows have a sent_ms that is not finite" in problems(copy)["evidence/requests.parquet"]
    )


@pytest.mark.parametrize("kind", ["control", "defect"])
def test_a_trial_less(copy: Path, kind: str) -> None:
    def without(proofs: Json) -> None:
        proofs["trials"] = [
            t for t in proofs["trials"] if (t["gate"], t["kind"]) != ("first", kind)
        ]  # type: ignore[attr-defined]

    edit_json(copy / "proofs/proofs.json", without)
    assert "proofs/proofs.json" in problems(copy)
    close_again(copy)
    assert "proofs are missing of A1 first" in verify(copy, Expected()).reason


def test_proofs_that_say_so_themselves(copy: Path) -> None:
    def without(proofs: Json) -> None:
        proofs["trials"] = []

    edit_json(copy / "proofs/proofs.json", without)
    close_again(copy)
    assert verify(copy, Expected()).verdict == "HOLD"


# -- run until green


def failing(gate: str) -> int:
    return 500 if gate == "first" else 200


@pytest.mark.parametrize("between", ["another version", "a comment", "the report removed"])
def test_fail_and_then_pass(tmp_path: Path, between: str) -> None:
    project = SmallRelease(tmp_path / "shop")
    assert held(project.release(failing, prove=False))
    release = project.specs / "release.yaml"
    if between == "another version":
        release.write_text(release.read_text().replace("release: v1", "release: v2"))
    elif between == "a comment":
        gate = project.specs / "gates/a/first.yaml"
        gate.write_text("# once more\n" + gate.read_text())
    elif between == "the report removed":
        shutil.rmtree(project.directory)
    report = project.release(prove=False)
    assert held(report)
    assert "flaky" in report.reason or "cannot be relied on" in report.reason


def test_a_gate_in_other_words_is_shown_beside_its_failures(tmp_path: Path) -> None:
    """It is another gate by its digest; the failed attempt stands in the report for whoever reads it."""
    project = SmallRelease(tmp_path / "shop")
    project.release(failing, prove=False)
    (project.specs / "gates/a/first.yaml").write_text(GATE.replace("why: w", "why: because"))
    report = project.release(prove=False)
    assert [attempt.failed for attempt in report.attempts] == [["first"]]


def test_a_cached_proof_is_of_exactly_these_inputs(tmp_path: Path) -> None:
    project = SmallRelease(tmp_path / "shop")
    session, specs = project.session()
    job = Job(gate="first", kind="defect", defect=0, seed=46)
    keys = {key_of(session, specs, job)}
    for name in session.digests:
        other = msgspec.structs.replace(session, digests={**session.digests, name: "x"})
        keys.add(key_of(other, specs, job))
    keys.add(key_of(msgspec.structs.replace(session, versions={"python": "4"}), specs, job))
    for changed in ({"kind": "control", "defect": None}, {"seed": 47}):
        keys.add(key_of(session, specs, msgspec.structs.replace(job, **changed)))
    gate = specs.gates["first"]
    for field in ("title", "assert_", "falsified_by"):
        value = "x" if field == "title" else [*getattr(gate, field)] * 2
        specs.gates["first"] = msgspec.structs.replace(gate, **{field: value})
        keys.add(key_of(session, specs, job))
    assert len(keys) == 1 + len(session.digests) + 1 + 2 + 3


def test_what_a_gate_must_have_planned(tmp_path: Path) -> None:
    project = SmallRelease(tmp_path / "shop")
    _, specs = project.session()
    assert planned_steps(specs.gates["first"]) == ["control.0", "scenario.0"]

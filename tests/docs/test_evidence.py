"""What an auditor is told to do by hand works, and comes to what the judge says."""

import re
import shutil
from pathlib import Path

import duckdb
import msgspec
import pytest

from gates.cli import main
from gates.release.report import Report
from gates.spec.project import read_project
from tests.builders.small_release import GATE, SmallRelease

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
NAME, ASSERTION, DEFECT = (
    "chaos-partial",
    "what needs neither of the two is answered with 200 or 201 all the while",
    "the list of tasks wants memory to be there",
)
# The gate of the guide, with its one assertion as it is written, over a target that needs no faults.
SMALL = (
    GATE.replace("gate: first", f"gate: {NAME}")
    .replace("all is well", ASSERTION)
    .replace("all is refused", DEFECT)
    .replace("requests where step = 'turns'", "requests where load = 'bystander'")
    .replace("every: status = 200", "every: status in (200, 201)")
)


def query(part: str) -> str:
    """The one query of the guide that contains a text."""
    (found,) = [text for text in QUERIES if part in text]
    return found


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evidence") / "shop"
    listed = {
        "specs/gates/a/first.yaml": None,
        f"specs/gates/a/{NAME}.yaml": SMALL,
    }
    made = SmallRelease(root, listed, name=NAME, load="bystander", drawn=True)
    assert made.release().verdict == "PROMOTE"
    return made.directory


@pytest.fixture
def duck(release: Path, monkeypatch: pytest.MonkeyPatch) -> duckdb.DuckDBPyConnection:
    """A connection in the release directory, as far as the guide had come before any query of its own."""
    monkeypatch.chdir(release)
    connection = duckdb.connect()
    connection.execute(query("SET VARIABLE run"))
    connection.execute(query("CREATE TEMP VIEW"))
    return connection


def test_all_queries_run_one_after_the_other(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(release)
    connection = duckdb.connect()
    assert len(QUERIES) > 12
    for text in QUERIES:
        connection.execute(text)


@pytest.mark.parametrize(
    "part",
    [
        "read_blob('**')",
        "attempts.jsonl",
        "seals.parquet",
        "unnest(planned)",
        "LIMIT 5",
        "list(attempt",
    ],
)
def test_what_must_have_no_row_has_none(duck: duckdb.DuckDBPyConnection, part: str) -> None:
    assert duck.execute(query(part)).fetchall() == []


def test_what_must_be_the_same_is(duck: duckdb.DuckDBPyConnection) -> None:
    assert duck.execute(query("AS verdict")).fetchall() == [("PROMOTE", True)]
    assert duck.execute(query("md5_number")).fetchall() == [(20, True)]
    assert duck.execute(query("digests->>'gate'")).fetchall() == [(True,)]
    ((attempt, _, mode, state, _),) = duck.execute(query("SELECT attempt, run_id")).fetchall()
    assert (attempt, mode, state) == (1, "healthy", "completed")


def test_the_assertion_comes_to_what_the_report_says(
    release: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    report = msgspec.json.decode((release / "gate-report.json").read_bytes(), type=Report)
    (said,) = [
        one
        for gate in report.gates
        if gate.name == NAME
        for one in gate.assertions
        if one.that == ASSERTION
    ]
    by_hand = duck.execute(query("AS violating\nFROM requests")).fetchall()
    assert by_hand == [(said.population, said.violating)] == [(20, 0)]
    ((_, status, measured, population, _),) = duck.execute(query("a.measured")).fetchall()
    assert (status, measured, population) == (said.status, said.measured, said.population)


def test_the_defect_is_seen_by_hand(duck: duckdb.DuckDBPyConnection) -> None:
    kinds = [row[0] for row in duck.execute(query("unnest(trials)")).fetchall()]
    assert kinds == ["control", "defect"]
    assert duck.execute(query("proofs/evidence/requests")).fetchall() == [(DEFECT, 20, 20)]


def test_the_guide_speaks_of_the_gate_as_it_is(duck: duckdb.DuckDBPyConnection) -> None:
    project = read_project(ROOT / "specs")
    gate = project.gates[NAME]
    (assertion,) = [one for one in gate.assert_ if one.that == ASSERTION]
    assert f"FROM {assertion.from_}" in query("AS violating\nFROM requests")
    assert f"({assertion.every}) IS NOT TRUE" in query("AS violating\nFROM requests")
    assert DEFECT in [one.defect for one in gate.falsified_by if ASSERTION in one.fails]
    ((that, where, _, every),) = duck.execute(query("a.spec.")).fetchall()
    assert (that, where, every) == (ASSERTION, assertion.from_, assertion.every)


def test_a_changed_file_and_an_edited_ledger_are_seen_by_hand(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "v1"
    shutil.copytree(release, copy)
    (copy / "junit.xml").write_text("")
    (copy / "more").write_text("")
    (copy / "build.json").unlink()
    line = (copy / "attempts.jsonl").read_bytes()
    (copy / "attempts.jsonl").write_bytes(line + line)
    monkeypatch.chdir(copy)
    connection = duckdb.connect()
    assert connection.execute(query("read_blob('**')")).fetchall() == [
        ("attempts.jsonl", "changed"),
        ("build.json", "missing"),
        ("junit.xml", "changed"),
        ("more", "added"),
    ]
    assert connection.execute(query("attempts.jsonl")).fetchall() == [(2,)]


def test_every_file_of_a_release_is_in_the_table(release: Path) -> None:
    table = GUIDE.partition("## What is in a release")[2].partition("In every table")[0]
    for path in release.iterdir():
        assert f"`{path.name}" in table, path.name


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m gates (\w+)", GUIDE))))
def test_every_command_exists(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage" in capfd.readouterr().out

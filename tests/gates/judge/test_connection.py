"""Opening evidence: nothing but what was sealed, and no way out."""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chaos.evidence import schema, sealing
from gates.judge import connection, tables
from gates.judge.connection import Evidence
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

NewRun = Callable[..., Run]
Shipped = Callable[..., Evidence]
SPEC = judged(assertion(every="status = 200"))


def rewrite(release: Path, table: str, query: str) -> None:
    """Change a shipped table by SQL over `t`."""
    path = release / f"{table}.parquet"
    with duckdb.connect() as other:
        other.execute(f"CREATE TABLE t AS FROM '{path}'")
        other.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


@pytest.fixture
def release(plain: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(plain, tmp_path / "release")


def test_evidence_as_it_was_sealed_passes(locked: Evidence) -> None:
    assert (locked.problems, locked.altered) == ([], {})
    assert verdict_of(locked, SPEC).status == "PASS"


@pytest.mark.parametrize("table", [*schema.sealed_tables(), "seals", "digests"])
def test_a_missing_table_is_unknown(release: Path, table: str) -> None:
    (release / f"{table}.parquet").unlink()
    verdict = verdict_of(connection.open_release(release, {}), SPEC)
    assert verdict.status == "UNKNOWN"


@pytest.mark.parametrize(
    ("table", "query"),
    [
        ("requests", "SELECT * REPLACE (if(seq = 3, 201, status) AS status) FROM t"),
        ("requests", "SELECT * REPLACE (if(seq = 3, done_ms + 0.001, done_ms) AS done_ms) FROM t"),
        ("requests", "FROM t WHERE seq <> 7"),
        ("requests", "FROM t UNION ALL SELECT * REPLACE (99 AS seq) FROM t WHERE seq = 3"),
        ("requests", "FROM t UNION ALL FROM t WHERE seq = 3"),
        ("requests", "FROM t UNION ALL FROM t WHERE seq = 3 UNION ALL FROM t WHERE seq = 3"),
        ("requests", "FROM t WHERE false"),
        ("runs", "SELECT * REPLACE (8::BIGINT AS seed) FROM t"),
        ("steps", "SELECT * REPLACE ('ok ' AS outcome) FROM t"),
        ("seals", "SELECT * REPLACE (lines + 1 AS lines) FROM t"),
        ("digests", "SELECT * REPLACE (row_count + 1 AS row_count) FROM t"),
        ("digests", "FROM t WHERE sealed_table <> 'requests'"),
    ],
)
def test_a_changed_table_is_unknown(release: Path, table: str, query: str) -> None:
    rewrite(release, table, query)
    verdict = verdict_of(connection.open_release(release, {}), SPEC)
    assert verdict.status == "UNKNOWN"
    assert "is not what was sealed" in verdict.detail


def test_a_changed_run_spoils_no_other(tmp_path: Path, new_run: NewRun) -> None:
    release = tmp_path / "release"
    sealing.seal(
        [new_run().plain().close(), new_run(gate="other", run_id="run-2").plain().close()],
        release,
        {},
    )
    rewrite(release, "requests", "SELECT * REPLACE (if(gate = 'demo', 'x', actor) AS actor) FROM t")
    evidence = connection.open_release(release, {})
    statuses = [
        verdict_of(evidence, judged(*SPEC.asserts, gate=gate)).status for gate in ("demo", "other")
    ]
    assert statuses == ["UNKNOWN", "PASS"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * EXCLUDE (status) FROM t", "cannot be read"),
        ("SELECT * REPLACE ('many' AS status) FROM t", "cannot be read"),
    ],
)
def test_a_table_of_other_columns_is_unknown(release: Path, query: str, message: str) -> None:
    rewrite(release, "requests", query)
    evidence = connection.open_release(release, {})
    assert message in evidence.problems[0]
    assert verdict_of(evidence, SPEC).status == "UNKNOWN"


def test_a_file_that_is_no_parquet_is_unknown(release: Path) -> None:
    (release / "requests.parquet").write_bytes(b"PAR1 nothing PAR1")
    assert verdict_of(connection.open_release(release, {}), SPEC).status == "UNKNOWN"


def test_an_empty_directory_is_unknown(tmp_path: Path) -> None:
    verdict = verdict_of(connection.open_release(tmp_path, {}), SPEC)
    assert (verdict.status, verdict.run_id) == ("UNKNOWN", None)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '{release}/requests.parquet'",
        "COPY (SELECT 1) TO '{release}/x.csv'",
        "ATTACH '{release}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 4",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET TimeZone = 'Asia/Tokyo'",
        "RESET lock_configuration",
    ],
)
def test_a_release_is_closed_to_the_outside(plain: Path, locked: Evidence, statement: str) -> None:
    with pytest.raises(duckdb.Error):
        locked.connection.execute(statement.format(release=plain)).fetchall()


def test_single_runs_are_read_from_their_directories_only(tmp_path: Path, plain_run: Path) -> None:
    (tmp_path / "secret.txt").write_text("x")
    evidence = connection.open_blank({}, [tmp_path / "runs"])
    assert sealing.Loader(evidence.connection, {}).load([plain_run]).problems == []
    assert verdict_of(evidence, SPEC).status == "PASS"
    with pytest.raises(duckdb.Error):
        evidence.connection.execute(f"SELECT * FROM read_text('{tmp_path}/secret.txt')")


def test_answers_depend_on_one_thread_and_no_time_zone(locked: Evidence) -> None:
    asked = "SELECT current_setting('threads'), current_setting('TimeZone')"
    assert locked.connection.execute(asked).fetchall() == [(1, "UTC")]


def test_collected_tables_are_opened_with_their_declared_columns(
    tmp_path: Path, new_run: NewRun
) -> None:
    collected = {"audit": {"allowed": "BOOLEAN", "detail": "JSON"}}
    run = new_run().plain()
    for _ in range(10):
        run.recorder.add_collected("audit", {"allowed": 1, "detail": '{"by": "x"}'})
    sealing.seal([run.close()], tmp_path / "release", collected)
    own = assertion(from_="audit", every="allowed and detail->>'$.by' = 'x'")
    spec = judged(own, assertion(that="b", every="status = 200"), collected=collected)
    assert (
        verdict_of(connection.open_release(tmp_path / "release", collected), spec).status == "PASS"
    )
    verdict = verdict_of(connection.open_release(tmp_path / "release", {}), spec)
    assert [result.status for result in verdict.assertions] == ["UNKNOWN", "PASS"]


def test_the_reader_and_the_writer_of_seals_agree() -> None:
    assert tables.SCHEMA == sealing.sql.SCHEMA
    assert tables.digest_sql("requests") == sealing.sql.digest("requests")
    collected = {"audit": {"a": "BIGINT"}}
    assert tables.declared(collected) == sealing.Loader(duckdb.connect(), collected).tables

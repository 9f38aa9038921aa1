"""Rows that are put into tables right after a run are those that sealing gives."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chaos.evidence import schema
from chaos.evidence.direct import MOST_BYTES, Direct, is_plain
from chaos.evidence.sealing import Loader, Rows
from tests.gates.judge.runs import Run

PLAIN_TABLES = [name for name in schema.sealed_tables() if name not in ("faults", "loads")]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "runs").begin()


def read(directory: Path) -> list[Rows]:
    return Loader(duckdb.connect(), {}).read(directory, keep=True)


def sealed_rows(directory: Path, table: str) -> list[tuple[object, ...]]:
    connection = duckdb.connect()
    loader = Loader(connection, {})
    loader.create()
    loader.load([directory])
    return connection.execute(f"SELECT * FROM evidence.{table}").fetchall()


ODD_TEXTS = [
    "",
    'it\'s "quoted"',
    "a\\b\n\t",
    "é😀",
    "nul\x00",
    "2024-01-01",
    "0017",
    "{}",
    "$1; --",
]
ODD_DOCUMENTS: list[object] = [
    None,
    [],
    {},
    {"a": 1.10, "b": [True, None, {"c": "é"}]},
    {"number": 12345678901234567, "small": 5e-324, "large": 1.7976931348623157e308},
    "text",
    0.1,
    -0.0,
]


def test_the_rows_are_those_of_sealing(run: Run) -> None:
    for text in ODD_TEXTS:
        run.request(actor=text, path=text, error=text)
    for document in ODD_DOCUMENTS:
        run.request(response=document, vars={"it": document}, request=document)
    run.request(answered=False).request(status=None, outcome="error", error="refused")
    run.request(sent_ms=0.1 + 0.2, done_ms=1e15).step("control.0").step("scenario.0", detail="x")
    directory = run.end().close()
    files = read(directory)
    assert is_plain(files)
    direct = Direct(duckdb.connect())
    for table in PLAIN_TABLES:
        direct.fill(table, files)
        found = direct.connection.execute(f"SELECT * FROM temp.{table}").fetchall()
        assert found == sealed_rows(directory, table), table


def test_every_table_has_its_declared_types(run: Run) -> None:
    files = read(run.request().end().close())
    direct = Direct(duckdb.connect())
    for table in schema.sealed_tables():
        direct.fill(table, files)
        described = direct.connection.execute(f"DESCRIBE temp.{table}").fetchall()
        assert {name: kind for name, kind, *_ in described} == schema.sealed_columns(table)


def test_another_run_leaves_nothing_of_the_one_before(run: Run, tmp_path: Path) -> None:
    direct = Direct(duckdb.connect())
    direct.fill("requests", read(run.request().request().end().close()))
    other = Run(tmp_path / "runs", run_id="run-2").begin().end().close()
    direct.fill("requests", read(other))
    assert direct.connection.execute("SELECT * FROM temp.requests").fetchall() == []


def test_a_run_that_differs_from_what_was_closed_is_plain_as_long_as_its_rows_are_whole(
    run: Run,
) -> None:
    directory = run.request(status=500).end().close()
    path = directory / "responses.jsonl"
    path.write_bytes(path.read_bytes().replace(b"500", b"200"))
    files = read(directory)
    assert is_plain(files)
    assert [file.path.name for file in files if file.problem] == ["responses.jsonl"]


def with_faults(run: Run) -> Run:
    return run.fault()


def with_a_load(run: Run) -> Run:
    return run.load("turns", 3)


def with_a_long_number(run: Run) -> Run:
    return run.request(response={"id": 2**63})


def with_a_status_no_column_holds(run: Run) -> Run:
    return run.request(status=2**70)


def with_a_collected_table(run: Run) -> Run:
    run.recorder.add_collected("audit", {"id": 1})
    return run


def with_two_beginnings(run: Run) -> Run:
    return run.begin()


def with_much(run: Run) -> Run:
    return run.request(response="x" * MOST_BYTES)


@pytest.mark.parametrize(
    "change",
    [
        with_faults,
        with_a_load,
        with_a_long_number,
        with_a_status_no_column_holds,
        with_a_collected_table,
        with_two_beginnings,
        with_much,
    ],
)
def test_what_is_not_plain_is_left_to_sealing(run: Run, change: Callable[[Run], Run]) -> None:
    assert not is_plain(read(change(run).end().close()))


def test_neither_is_a_damaged_run(run: Run) -> None:
    directory = run.request().end().close()
    path = directory / "requests.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert not is_plain(read(directory))


def test_nor_one_that_never_began(tmp_path: Path) -> None:
    assert not is_plain(read(Run(tmp_path / "runs").request().end().close()))

"""Sealing: typed tables from JSON lines, and everything that is not as it was closed."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import duckdb
import msgspec
import pytest

from chaos.answers import CUT_SHORT
from chaos.evidence import schema, sealing, sealing_sql
from chaos.evidence.sealing import Collected, Loader, seal
from tests.gates.judge.runs import Run

COLLECTED: Collected = {
    "audit": {
        "id": "BIGINT",
        "actor": "VARCHAR",
        "allowed": "BOOLEAN",
        "detail": "JSON",
        "took_ms": "DOUBLE",
    }
}


def table(release: Path, name: str, columns: str = "*") -> list[tuple[object, ...]]:
    return asked(f"SELECT {columns} FROM '{release / name}.parquet'")


def asked(sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(sql).fetchall()


def problems(sealed: sealing.Sealed) -> dict[str, str]:
    return {file: problem for _, file, problem in sealed.problems}


def loaded(
    directories: list[Path], collected: Collected
) -> tuple[duckdb.DuckDBPyConnection, sealing.Sealed]:
    connection = duckdb.connect()
    loader = Loader(connection, collected)
    loader.create()
    return connection, loader.load(directories)


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Run]:
    return lambda **names: Run(tmp_path / "runs", **names)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return tmp_path / "release"


def test_every_table_has_its_declared_columns_and_types(
    new_run: Callable[..., Run], release: Path
) -> None:
    sealed = seal([new_run().plain().close()], release, COLLECTED)
    assert sealed.problems == []
    for name in schema.sealed_tables():
        described = asked(f"DESCRIBE SELECT * FROM '{release / name}.parquet'")
        assert {column: kind for column, kind, *_ in described} == schema.sealed_columns(name)
        assert [column for column, *_ in described] == list(schema.sealed_columns(name))


def test_what_looks_like_another_type_stays_what_it_is(
    new_run: Callable[..., Run], release: Path
) -> None:
    run = new_run().begin()
    run.request(
        path="2024-01-01",
        actor="0017",
        response={"id": 12345678901234567890123, "at": "2024-01-01"},
    )
    seal([run.end().close()], release, {})
    ((path, actor, response),) = table(release, "requests", "path, actor, response")
    assert (path, actor) == ("2024-01-01", "0017")
    assert response == '{"id":12345678901234567890123,"at":"2024-01-01"}'


def test_requests_and_answers_are_joined_and_timed(
    new_run: Callable[..., Run], release: Path
) -> None:
    run = new_run().begin()
    run.request(sent_ms=11.0, done_ms=15.0, intended_ms=10.0)
    run.request(answered=False)
    run.request(status=None, outcome="error", error="refused")
    seal([run.end().close()], release, {})
    rows = table(release, "requests", "seq, status, outcome, latency_ms, service_ms")
    assert rows == [
        (0, 200, "ok", 5.0, 4.0),
        (1, None, "info", None, None),
        (2, None, "error", 2.0, 2.0),
    ]


def test_requests_know_the_faults_they_met(new_run: Callable[..., Run], release: Path) -> None:
    run = new_run().begin().fault()
    times = [(50, 60), (50, 105), (105, 150), (110, 200), (150, 201), (205, 206), (211, 300)]
    for sent_ms, done_ms in times:
        run.request(sent_ms=float(sent_ms), done_ms=float(done_ms))
    run.request(sent_ms=50.0, answered=False)
    seal([run.end().close()], release, {})
    met = table(release, "requests", "during, touched")
    assert [bool(during) for during, _ in met] == [
        False,
        False,
        False,
        True,
        False,
        False,
        False,
        False,
    ]
    assert [bool(touched) for _, touched in met] == [
        False,
        True,
        True,
        True,
        True,
        True,
        False,
        True,
    ]
    assert met[3] == (["outage"], ["outage"])


def test_a_fault_that_was_repeated_is_named_once(
    new_run: Callable[..., Run], release: Path
) -> None:
    run = (
        new_run().begin().fault().fault(on_ms=120.0, proven_ms=120.0).fault("slow", kind="latency")
    )
    run.request(sent_ms=130.0, done_ms=140.0)
    seal([run.end().close()], release, {})
    assert table(release, "requests", "during") == [(["outage", "slow"],)]


@pytest.mark.parametrize(
    ("fault", "request_", "outcome"),
    [
        ({}, {}, "info"),
        ({}, {"close_framed": False}, "ok"),
        ({}, {"link": "elsewhere"}, "ok"),
        ({}, {"link": None}, "ok"),
        ({"ends_connections": False}, {}, "ok"),
        # What was a sham injected nothing.
        ({"proven": False}, {}, "ok"),
        ({}, {"sent_ms": 300.0, "done_ms": 301.0}, "ok"),
    ],
)
def test_what_only_the_close_ended_is_no_answer_while_a_fault_ends_connections(
    new_run: Callable[..., Run],
    release: Path,
    fault: dict[str, object],
    request_: dict[str, object],
    outcome: str,
) -> None:
    run = new_run().begin().fault(**({"link": "a->b", "ends_connections": True} | fault))
    asked_for = {"link": "a->b", "sent_ms": 130.0, "done_ms": 140.0, "close_framed": True}
    run.request(**(asked_for | request_))
    seal([run.end().close()], release, {})
    expected = (200, "ok", None) if outcome == "ok" else (None, "info", CUT_SHORT)
    assert table(release, "requests", "status, outcome, error") == [expected]


@pytest.mark.parametrize(
    ("life", "outcome"),
    [
        ({"exited_ms": 135.0, "ended_by": "kill"}, "info"),
        ({"exited_ms": 141.0, "ended_by": "itself"}, "info"),
        ({"exited_ms": 141.0, "ended_by": "teardown"}, "ok"),
        ({"exited_ms": 125.0, "ended_by": "kill"}, "ok"),
        ({"exited_ms": 900.0, "ended_by": "kill"}, "ok"),
    ],
)
def test_nor_when_its_process_died(
    new_run: Callable[..., Run], release: Path, life: dict[str, object], outcome: str
) -> None:
    run = new_run().begin()
    columns = {"process": "web", "pid": 1, "parent": 0, "started_ms": 1.0, "ready_ms": 2.0}
    run.recorder.add(schema.Process, **columns, exit=-9, output="web.log", **life)
    run.request(process="web", sent_ms=130.0, done_ms=140.0, close_framed=True)
    seal([run.end().close()], release, {})
    assert table(release, "requests", "outcome") == [(outcome,)]


def test_an_unproven_fault_is_nothing_to_be_inside_of(
    new_run: Callable[..., Run], release: Path
) -> None:
    run = new_run().begin().fault(proven=False, proven_ms=None, clean_ms=None)
    run.request(sent_ms=130.0, done_ms=140.0)
    seal([run.end().close()], release, {})
    assert table(release, "requests", "during, touched") == [([], ["outage"])]


def test_a_run_without_an_end_stays(new_run: Callable[..., Run], release: Path) -> None:
    seal([new_run().begin().close()], release, {})
    assert table(release, "runs", "run_id, mode, planned, end_state") == [
        ("run-1", "healthy", ["control.0", "scenario.0"], None)
    ]


def test_the_rows_of_all_processes_come_in_order(
    new_run: Callable[..., Run], release: Path
) -> None:
    run = new_run().begin().request()
    seqs = run.recorder.reserve("requests", 2)
    first = msgspec.json.decode((run.directory / "requests.jsonl").read_bytes())
    answer = msgspec.json.decode((run.directory / "responses.jsonl").read_bytes())
    for kind, row in (("requests", first), ("responses", answer)):
        lines = [msgspec.json.encode(row | {"seq": seq}) for seq in reversed(seqs)]
        (run.directory / f"{kind}.turns.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    sealed = seal([run.request().end().close()], release, {})
    assert sealed.problems == []
    assert table(release, "requests", "seq, status") == [(seq, 200) for seq in range(4)]


def test_collected_tables_get_their_declared_types(
    new_run: Callable[..., Run], release: Path
) -> None:
    run = new_run().begin()
    run.recorder.add_collected(
        "audit", {"id": 1, "actor": "17", "allowed": 1, "detail": '{"a": [1]}', "took_ms": 3}
    )
    run.recorder.add_collected(
        "audit",
        {"id": None, "actor": None, "allowed": False, "detail": "[redacted]", "took_ms": None},
    )
    run.recorder.add_collected(
        "audit", {"id": 2, "actor": "x", "allowed": None, "detail": {"b": None}, "took_ms": 0.5}
    )
    sealed = seal([run.end().close()], release, COLLECTED)
    assert sealed.problems == []
    assert table(release, "audit", "id, actor, allowed, detail, took_ms") == [
        (1, "17", True, '{"a": [1]}', 3.0),
        (None, None, False, '"[redacted]"', None),
        (2, "x", None, '{"b":null}', 0.5),
    ]


@pytest.mark.parametrize("collected", [{"requests": {"a": "BIGINT"}}, {"audit": {"a": "DATE"}}])
def test_a_table_that_cannot_be_collected_is_refused(collected: Collected) -> None:
    with pytest.raises(ValueError, match="cannot collect"):
        Loader(duckdb.connect(), collected)


def test_a_value_of_another_type_is_noticed(new_run: Callable[..., Run], release: Path) -> None:
    run = new_run().begin()
    run.recorder.add_collected(
        "audit", {"id": "five", "actor": "x", "allowed": 1, "detail": {}, "took_ms": 0.5}
    )
    sealed = seal([run.end().close()], release, COLLECTED)
    assert "line 1: Expected `int | null`, got `str`" in problems(sealed)["collected.audit.jsonl"]


def test_a_number_that_no_column_can_hold_is_noticed_and_loses_no_other_gate(
    new_run: Callable[..., Run], release: Path
) -> None:
    bad = new_run().begin()
    bad.recorder.add_collected(
        "audit", {"id": 2**70, "actor": "x", "allowed": 1, "detail": {}, "took_ms": 0.5}
    )
    good = new_run(gate="other", run_id="run-2").begin()
    good.recorder.add_collected(
        "audit", {"id": 7, "actor": "y", "allowed": 1, "detail": {}, "took_ms": 0.5}
    )
    sealed = seal([bad.end().close(), good.end().close()], release, COLLECTED)
    assert [gate for gate, _, _ in sealed.problems] == ["demo"]
    assert (7, "y") in table(release, "audit", "id, actor")


def test_a_cut_off_last_line_is_noticed_and_the_others_kept(
    new_run: Callable[..., Run], release: Path
) -> None:
    directory = new_run().plain(5).close()
    path = directory / "responses.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    sealed = seal([directory], release, {})
    assert "the last line is cut off" in problems(sealed)["responses.jsonl"]
    assert "it is not what was closed: 4 lines, 5 then" in problems(sealed)["responses.jsonl"]
    assert table(release, "requests", "status") == [(200,)] * 4 + [(None,)]


@pytest.mark.parametrize(
    ("whole", "broken"),
    [
        (b'"seq":2', b'"seq":nonsense'),
        (b'"path":"/', b'"path":"/\xff'),
        (b'"request":', b'"\x80":'),
    ],
)
def test_an_unreadable_line_is_noticed_and_the_others_kept(
    new_run: Callable[..., Run], release: Path, whole: bytes, broken: bytes
) -> None:
    directory = new_run().plain(5).close()
    path = directory / "requests.jsonl"
    lines = path.read_bytes().splitlines()
    assert whole in lines[2]
    lines[2] = lines[2].replace(whole, broken)
    path.write_bytes(b"\n".join(lines) + b"\n")
    sealed = seal([directory], release, {})
    assert "1 lines cannot be read (line 3: " in problems(sealed)["requests.jsonl"]
    assert table(release, "requests", "seq") == [(0,), (1,), (3,), (4,)]


def test_a_changed_line_is_noticed(new_run: Callable[..., Run], release: Path) -> None:
    directory = new_run().plain(3, status=500).close()
    path = directory / "responses.jsonl"
    path.write_bytes(path.read_bytes().replace(b"500", b"200"))
    assert (
        "it is not what was closed" in problems(seal([directory], release, {}))["responses.jsonl"]
    )


def test_missing_files_and_closings_are_noticed(new_run: Callable[..., Run], release: Path) -> None:
    one, other = new_run().plain(3).close(), new_run(gate="other", run_id="run-2").plain(3).close()
    (one / "steps.jsonl").unlink()
    (other / "closings.jsonl").unlink()
    sealed = seal([one, other], release, {})
    assert ("demo", "steps.jsonl", "it is missing") in sealed.problems
    assert ("other", "closings.jsonl", "it is missing") in sealed.problems
    assert ("other", "requests.jsonl", "it was never closed") in sealed.problems


def test_a_file_that_no_table_has_is_noticed(new_run: Callable[..., Run], release: Path) -> None:
    run = new_run().plain(1)
    (run.directory / "wishes.jsonl").write_text("{}\n")
    assert problems(seal([run.close()], release, {})) == {"wishes.jsonl": "no table has this name"}


def test_rows_of_another_run_are_left_out_and_noticed(
    new_run: Callable[..., Run], release: Path
) -> None:
    directory = new_run().plain(3).close()
    foreign = new_run(run_id="run-2").plain(2).close()
    for name in ("requests.jsonl", "responses.jsonl"):
        with (directory / name).open("ab") as file:
            file.write((foreign / name).read_bytes().replace(b'"seq":', b'"seq":9'))
    sealed = seal([directory], release, {})
    assert "2 rows are of another run or gate" in problems(sealed)["requests.jsonl"]
    assert table(release, "requests", "run_id, seq") == [("run-1", seq) for seq in range(3)]


def test_a_seq_that_occurs_twice_and_an_answer_without_a_request_are_noticed(
    new_run: Callable[..., Run], release: Path
) -> None:
    run = new_run().plain(2)
    for name in ("steps.jsonl", "responses.jsonl"):
        path = run.directory / name
        lines = path.read_bytes().splitlines(keepends=True)
        again = lines[-1] if name == "steps.jsonl" else lines[-1].replace(b'"seq":1', b'"seq":17')
        path.write_bytes(path.read_bytes() + again)
    found = problems(seal([run.close()], release, {}))
    assert found == {
        "steps.jsonl": "two of its rows have the same seq",
        "responses.jsonl": "it has answers to requests that were never sent",
    }


def test_one_run_loaded_directly_has_the_rows_of_the_release(
    new_run: Callable[..., Run], release: Path
) -> None:
    run = new_run().fault().probe("before").load("turns", 3)
    run.recorder.add_collected(
        "audit", {"id": 1, "actor": "x", "allowed": 0, "detail": "{}", "took_ms": 3}
    )
    directory = run.plain(7).close()
    (directory / "steps.jsonl").write_bytes((directory / "steps.jsonl").read_bytes()[:-3])
    seal([directory], release, COLLECTED)
    connection, sealed = loaded([directory], COLLECTED)
    assert sum(sealed.row_counts.values()) > 20
    for name in [*schema.sealed_tables(), "audit", "seals"]:
        direct = connection.execute(f"SELECT * FROM evidence.{name}").fetchall()
        assert direct == table(release, name), name


ODD_TEXTS = [
    "",
    'it\'s "quoted"',
    "a\\b\n\t",
    "é😀\u2028",
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
    {"id": 2**65},
    "text",
    0.1,
    -0.0,
]


@pytest.mark.parametrize("document", ODD_DOCUMENTS)
def test_rows_that_are_passed_as_text_are_those_that_files_give(
    new_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, document: object
) -> None:
    run = new_run().begin().fault().probe("before").load("turns", 3)
    for text in ODD_TEXTS:
        run.request(actor=text, path=text, error=text)
    run.request(response=document, vars={"it": document}, request=document)
    run.request(answered=False).request(status=None, outcome="error", error="refused")
    run.request(sent_ms=0.1 + 0.2, done_ms=1e15).step("control.0").step("scenario.0", detail="x")
    run.recorder.add_collected(
        "audit", {"id": 1, "actor": "x", "allowed": 0, "detail": "{}", "took_ms": 3}
    )
    directory = run.end().close()
    passed, _ = loaded([directory], COLLECTED)
    monkeypatch.setattr(sealing, "SMALL_BYTES", 0)
    read, _ = loaded([directory], COLLECTED)
    for name in [*schema.sealed_tables(), "audit", "seals"]:
        asked = f"SELECT * FROM evidence.{name}"
        rows = passed.execute(asked).fetchall()
        assert rows == read.execute(asked).fetchall(), name
        assert rows or name not in ("requests", "faults", "loads", "audit", "seals")


def test_small_files_beyond_what_is_passed_at_once_are_read_where_they_lie(
    new_run: Callable[..., Run], release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [new_run(gate=f"g{number}", run_id=f"r{number}").plain(3).close() for number in range(3)]
    monkeypatch.setattr(sealing, "MOST_BYTES", 100)
    assert seal(runs, release, {}).row_counts["requests"] == 9


def test_loading_another_run_leaves_nothing_of_the_one_before(new_run: Callable[..., Run]) -> None:
    connection = duckdb.connect()
    loader = Loader(connection, {})
    loader.create()
    loader.load([new_run().fault().plain(3).close()])
    loader.load([new_run(gate="other", run_id="run-2").begin().end().close()])
    for name in loader.tables:
        rows = connection.execute(f"SELECT DISTINCT run_id FROM evidence.{name}").fetchall()
        assert rows in ([], [("run-2",)]), name


def test_digests_can_be_recomputed_from_parquet_alone(
    new_run: Callable[..., Run], release: Path
) -> None:
    seal(
        [new_run().plain(4).close(), new_run(gate="other", run_id="run-2").plain(2).close()],
        release,
        {},
    )
    recorded = table(release, "digests", "sealed_table, run_id, gate, row_count, digest")
    connection = duckdb.connect()
    connection.execute(f"CREATE SCHEMA {sealing_sql.SCHEMA}")
    connection.execute(f"CREATE TABLE evidence.requests AS FROM '{release}/requests.parquet'")
    again = connection.execute(sealing_sql.digest("requests")).fetchall()
    assert {row[1:] for row in recorded if row[0] == "requests"} == set(again)
    assert {row[0] for row in recorded} == {"runs", "steps", "requests", "closings", "seals"}


def test_the_same_evidence_gives_the_same_files(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    directories = [new_run(gate=gate).plain(4).close() for gate in ("b", "a")]
    digests = []
    for name, order in (("one", directories), ("other", directories[::-1])):
        seal(order, tmp_path / name, {})
        files = sorted((tmp_path / name).iterdir())
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


def test_nothing_at_all_makes_empty_tables(release: Path) -> None:
    sealed = seal([], release, {})
    assert sealed.problems == []
    assert table(release, "requests") == []


def test_names_with_quotes_are_quoted(tmp_path: Path, release: Path) -> None:
    sealed = seal(
        [Run(tmp_path / "it's", gate="a 'gate'", run_id='run"1').plain(2).close()], release, {}
    )
    assert sealed.problems == []
    assert table(release, "requests", "run_id, gate") == [('run"1', "a 'gate'")] * 2

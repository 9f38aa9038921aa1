"""Evidence that is not what it should be: none of it passes, whatever its rows say."""

import hashlib
import itertools
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chaos.evidence.recorder import as_json
from gates.judge import integrity
from gates.judge.connection import Evidence
from gates.judge.result import GateVerdict
from tests.gates.judge.runs import Run, assertion, judged, verdict_of
from tests.gates.tampering import edit_table

NewRun = Callable[..., Run]
Sealed = Callable[..., Evidence]
SPEC = judged(assertion(every="status = 200"))
ROOT = Path(__file__).parents[3]


def verdict(evidence: Evidence, **changes: object) -> GateVerdict:
    return verdict_of(evidence, judged(*SPEC.asserts, **changes))


def test_as_it_should_be_it_passes(plain_run: Path, sealed: Sealed) -> None:
    """Else no case below would show anything."""
    assert verdict(sealed(plain_run)).status == "PASS"
    assert verdict(sealed(plain_run, spoil=lambda _: None)).status == "PASS"


# -- one run, one id


def test_rows_of_another_run_are_no_help(new_run: NewRun, sealed: Sealed) -> None:
    other = new_run(run_id="run-9").plain(20).close()
    own = new_run().begin().step("control.0").step("scenario.0").end().close()
    shutil.copyfile(other / "requests.jsonl", own / "requests.jsonl")
    shutil.copyfile(other / "responses.jsonl", own / "responses.jsonl")
    found = verdict(sealed(own))
    assert found.status == "UNKNOWN"
    assert "of another run or gate" in found.detail


def test_a_directory_that_was_renamed_is_no_run_of_that_gate(
    new_run: NewRun, sealed: Sealed, tmp_path: Path
) -> None:
    other = new_run(gate="easy").plain(20).close()
    place = tmp_path / "renamed" / "demo"
    shutil.copytree(other, place)
    assert verdict(sealed(place)).status == "UNKNOWN"


@pytest.mark.parametrize("table", ["runs", "run_ends"])
def test_a_second_beginning_or_end_is_one_too_many(begun: Run, sealed: Sealed, table: str) -> None:
    begun = begun.begin() if table == "runs" else begun.end(end_state="completed")
    found = verdict(sealed(begun.close()))
    assert (found.status, "there are 2" in found.detail) == ("UNKNOWN", True)


def test_an_end_that_was_better_the_second_time(new_run: NewRun, sealed: Sealed) -> None:
    run = new_run().begin().step("control.0").step("scenario.0").end(end_state="broken").end()
    assert verdict(sealed(run.close())).status == "UNKNOWN"


# -- frozen first


@pytest.mark.parametrize("mode", ["defect", "sham"])
def test_a_run_of_a_defect_or_sham_is_no_run_of_the_system(
    new_run: NewRun, sealed: Sealed, mode: str
) -> None:
    run = new_run().begin(mode=mode)
    for number in range(20):
        run.request(sent_ms=10.0 + number, done_ms=12.0 + number)
    directory = run.step("control.0").step("scenario.0").end().close()
    assert verdict(sealed(directory)).status == "UNKNOWN"


def test_a_run_of_the_gate_before_it_was_edited(plain_run: Path, sealed: Sealed) -> None:
    found = verdict(sealed(plain_run), spec_sha256="g2")
    assert (found.status, "another version of this gate" in found.detail) == ("UNKNOWN", True)


def test_a_run_that_recorded_no_digests(new_run: NewRun, sealed: Sealed) -> None:
    run = new_run().begin(digests=as_json({}))
    directory = run.step("control.0").step("scenario.0").end().close()
    assert verdict(sealed(directory), spec_sha256="g1").status == "UNKNOWN"


# -- a closing record

KILLED = """
import sys
from pathlib import Path
from tests.gates.judge.runs import Run
run = Run(Path(sys.argv[1])).begin().step("control.0")
for number in range(10**9):
    run.request(sent_ms=10.0 + number, done_ms=12.0 + number)
    if number == 50:
        print("recording", flush=True)
"""


def test_a_recorder_that_was_killed(tmp_path: Path, sealed: Sealed) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"recording\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    found = verdict(sealed(tmp_path / "run-1" / "demo", spoil=lambda _: None))
    assert found.status == "UNKNOWN"
    assert "the run has no end" in found.detail
    assert any("never closed" in finding.message for finding in found.findings)
    # What had been recorded is not lost: it is only no pass.
    assert (found.assertions[0].population or 0) > 50


@pytest.mark.parametrize("table", ["runs", "run_ends", "requests", "responses", "steps"])
def test_a_file_that_was_cut_anywhere(begun: Run, sealed: Sealed, table: str) -> None:
    path = begun.close() / f"{table}.jsonl"
    whole = path.read_bytes()
    for cut in random.Random(table).sample(range(len(whole)), 4):
        path.write_bytes(whole[:cut])
        assert verdict(sealed(path.parent)).status != "PASS", f"cut after {cut} bytes"


@pytest.mark.parametrize(
    "table", ["runs", "run_ends", "requests", "responses", "steps", "closings"]
)
def test_a_file_that_is_gone(begun: Run, sealed: Sealed, table: str) -> None:
    directory = begun.close()
    (directory / f"{table}.jsonl").unlink()
    assert verdict(sealed(directory)).status == "UNKNOWN"


def closed_over(directory: Path, name: str, **lie: object) -> None:
    """Add a closing row for a file, true but for what is a lie."""
    data = (directory / name).read_bytes()
    row = {
        "run_id": "run-1",
        "gate": "demo",
        "seq": 99,
        "file": name,
        "lines": data.count(b"\n"),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    with (directory / "closings.jsonl").open("ab") as file:
        file.write(msgspec.json.encode({**row, **lie}) + b"\n")


def test_a_closing_that_lies(plain_run: Path, sealed: Sealed) -> None:
    path = plain_run / "closings.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"lines":20', b'"lines":21'))
    assert verdict(sealed(plain_run)).status == "UNKNOWN"


@pytest.mark.parametrize("first_lies", [True, False])
def test_a_closing_that_was_put_right_afterwards(
    plain_run: Path, sealed: Sealed, first_lies: bool
) -> None:
    if first_lies:
        path = plain_run / "responses.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b"200", b"201")]))
        closed_over(plain_run, "responses.jsonl")
    else:
        closed_over(plain_run, "responses.jsonl", lines=7)
    found = verdict(sealed(plain_run))
    assert found.status == "UNKNOWN"
    assert any("it was closed twice" in finding.message for finding in found.findings)


def test_rows_that_were_added_after_closing(plain_run: Path, sealed: Sealed) -> None:
    for name in ("requests.jsonl", "responses.jsonl"):
        lines = (plain_run / name).read_bytes().splitlines(keepends=True)
        more = lines[-1].replace(b'"seq":19', b'"seq":20')
        (plain_run / name).write_bytes(b"".join([*lines, more]))
    assert verdict(sealed(plain_run)).status == "UNKNOWN"


def test_rows_that_are_there_twice(plain_run: Path, sealed: Sealed) -> None:
    path = plain_run / "requests.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    closed_over(plain_run, "requests.jsonl")
    assert verdict(sealed(plain_run)).status == "UNKNOWN"


def test_a_second_file_of_good_rows(plain_run: Path, sealed: Sealed) -> None:
    shutil.copyfile(plain_run / "requests.jsonl", plain_run / "requests.more.jsonl")
    closed_over(plain_run, "requests.more.jsonl")
    assert verdict(sealed(plain_run)).status == "UNKNOWN"


def test_a_run_without_assertions_or_steps(new_run: NewRun, sealed: Sealed) -> None:
    assert verdict_of(sealed(new_run().plain().close()), judged()).status == "UNKNOWN"
    nothing = new_run(run_id="run-2").begin(planned=()).request().end().close()
    assert verdict(sealed(nothing)).status == "UNKNOWN"


# -- the shipped Parquet, with its declared columns


def spoiling(table: str, sql: str) -> Callable[[Path], None]:
    return lambda release: edit_table(release / f"{table}.parquet", sql)


@pytest.mark.parametrize(
    ("table", "sql"),
    [
        ("requests", "SELECT * REPLACE (status::DOUBLE AS status) FROM old"),
        ("requests", "SELECT * REPLACE ((status * 1.5)::BIGINT AS status) FROM old"),
        ("requests", "SELECT * REPLACE ('a' AS status) FROM old"),
        ("requests", "SELECT * EXCLUDE (status) FROM old"),
        ("requests", "FROM old UNION ALL FROM old"),
        ("requests", "FROM old UNION ALL (SELECT * REPLACE (seq + 1000 AS seq) FROM old)"),
        ("requests", "FROM old WHERE seq < 15"),
        ("requests", "FROM old LIMIT 0"),
        ("requests", "SELECT * REPLACE ('nan'::DOUBLE AS done_ms) FROM old"),
        ("requests", "SELECT * REPLACE ('-infinity'::DOUBLE AS latency_ms) FROM old"),
        ("requests", "SELECT * REPLACE (['outage'] AS during) FROM old"),
        ("runs", "SELECT * REPLACE ('healthy' AS worker) FROM old"),
        ("runs", "FROM old UNION ALL FROM old"),
        ("runs", "SELECT * REPLACE ('nan'::DOUBLE AS clock_drift_ms) FROM old"),
        ("steps", "SELECT * REPLACE ('ok' AS detail) FROM old"),
        ("seals", "FROM old LIMIT 1"),
        ("seals", "FROM old WHERE file <> 'closings.jsonl'"),
        ("digests", "FROM old LIMIT 0"),
        ("digests", "FROM old WHERE sealed_table <> 'requests'"),
        ("digests", "SELECT * REPLACE ('0' AS digest) FROM old"),
        ("digests", "SELECT * REPLACE (NULL::VARCHAR AS digest) FROM old"),
    ],
)
def test_tables_that_are_not_those_that_were_sealed(
    plain_run: Path, sealed: Sealed, table: str, sql: str
) -> None:
    assert verdict(sealed(plain_run, spoil=spoiling(table, sql))).status == "UNKNOWN"


@pytest.mark.parametrize(
    "table", ["runs", "steps", "requests", "faults", "link_bypasses", "seals", "digests"]
)
def test_a_table_that_is_missing(plain_run: Path, sealed: Sealed, table: str) -> None:
    found = verdict(
        sealed(plain_run, spoil=lambda release: (release / f"{table}.parquet").unlink())
    )
    assert found.status == "UNKNOWN"
    # Without its runs there is nothing that could be said of any other table.
    said = "there are 0" if table == "runs" else f"the table {table} is missing"
    assert said in found.detail


def test_a_failure_that_was_hidden_beside_what_is_missing(new_run: NewRun, sealed: Sealed) -> None:
    """Half of the evidence can look like a failure as well: it is neither a pass nor one."""
    run = new_run().plain(20, status=500).close()
    found = verdict(sealed(run, spoil=spoiling("steps", "FROM old LIMIT 0")))
    assert found.status == "UNKNOWN"


# -- intent before sending


@pytest.mark.parametrize(
    "test",
    [
        {"every": "status = 200"},
        {"none": "status >= 500"},
        {"share": "status = 200", "is_": ">= 0.9"},
        {"share": "status >= 500", "is_": "<= 0.1"},
        {"every": "outcome = 'ok'"},
    ],
)
def test_requests_that_were_never_answered_do_not_help(
    new_run: NewRun, sealed: Sealed, test: dict[str, object]
) -> None:
    run = new_run().plain(10)
    for number in range(10):
        run.request(answered=False, sent_ms=500.0 + number)
    found = verdict_of(sealed(run.close()), judged(assertion(**test)))
    assert found.status == "FAIL"


# -- loads


def test_a_load_with_more_rows_than_it_sent(new_run: NewRun, sealed: Sealed) -> None:
    directory = new_run().load("turns", 10).plain(20, load="turns").close()
    found = verdict(sealed(directory), loads=["turns"])
    assert found.status == "UNKNOWN"
    assert "turns sent 10 requests, of which 20 are recorded" in found.detail


@pytest.mark.parametrize(
    "lie",
    [
        {"planned": 40},
        {"sent": 19},
        {"planned": 0, "sent": 0},
        {"planned": -20, "sent": -20},
        {"problem": "the clients ran out of files"},
        {"sent": 21, "planned": 21},
    ],
)
def test_a_load_that_did_not_do_what_it_planned(
    new_run: NewRun, sealed: Sealed, lie: dict[str, object]
) -> None:
    directory = new_run().load("turns", 20, **lie).plain(20, load="turns").close()
    assert verdict(sealed(directory), loads=["turns"]).status == "UNKNOWN"


# -- one clock


@pytest.mark.parametrize("drift_ms", [-50.1, 50.1, -86_400_000.0, 1e300])
def test_a_clock_that_went_back_or_ahead(new_run: NewRun, sealed: Sealed, drift_ms: float) -> None:
    run = new_run().begin().request().step("control.0").step("scenario.0")
    found = verdict(sealed(run.end(clock_drift_ms=drift_ms).close()))
    assert (found.status, "the wall clock moved" in found.detail) == ("UNKNOWN", True)


@pytest.mark.parametrize("done_ms", [9.0, -1.0, -math.inf])
def test_answers_from_before_the_question_meet_no_limit(
    new_run: NewRun, sealed: Sealed, done_ms: float
) -> None:
    run = new_run().plain(20)
    run.request(sent_ms=50.0, done_ms=done_ms if math.isfinite(done_ms) else -1e308)
    fast = judged(assertion(every="latency_ms < 500"))
    found = verdict_of(sealed(run.close()), fast)
    assert found.status == "UNKNOWN"
    assert "answered before they were sent" in found.detail


# -- the whole of a release


def test_digests_that_were_not_recorded_at_all_are_not_the_same(
    new_run: NewRun, sealed: Sealed
) -> None:
    runs = [
        new_run(gate=gate, run_id=gate).begin(digests=as_json({"gate": gate, "source": digest}))
        for gate, digest in (("a", "s1"), ("b", "s2"))
    ]
    evidence = sealed(*(run.end().close() for run in runs))
    assert integrity.release_problems(evidence, {}) == [
        "source of toy is not the same in all runs: a and b differ"
    ]


def test_the_order_of_gates_changes_nothing(new_run: NewRun, sealed: Sealed) -> None:
    """Evidence of several gates in one place, judged in every order."""
    statuses = {"a": 200, "b": 500, "c": 200}
    runs = [
        new_run(gate=gate, run_id=f"run-{gate}").plain(20, status=status).close()
        for gate, status in statuses.items()
    ]
    evidence = sealed(*runs)
    for order in itertools.permutations(statuses):
        found = {
            gate: verdict_of(evidence, judged(*SPEC.asserts, gate=gate)).status for gate in order
        }
        assert found == {"a": "PASS", "b": "FAIL", "c": "PASS"}


# -- processes


@pytest.mark.parametrize(
    ("ended_by", "exits", "status"),
    [
        ("itself", [], "UNKNOWN"),
        ("itself", ["other"], "UNKNOWN"),
        ("itself", ["web"], "PASS"),
        ("asked", [], "PASS"),
        ("kill", [], "PASS"),
        ("teardown", [], "PASS"),
    ],
)
def test_a_process_that_nobody_asked_to_end(
    begun: Run, sealed: Sealed, ended_by: str, exits: list[str], status: str
) -> None:
    directory = begun.life(ended_by=ended_by, exit=1).close()
    found = verdict(sealed(directory), exits=exits)
    assert found.status == status
    said = "web ended by itself, with 1, 40 ms into the run: see 000.web.log"
    assert (said in found.detail) == (status == "UNKNOWN")


def test_an_end_that_nobody_asked_for_hides_no_failure(begun: Run, sealed: Sealed) -> None:
    directory = begun.request(status=500).life(ended_by="itself", exit=1).close()
    assert verdict(sealed(directory)).status == "FAIL"


def test_what_outlives_a_run(begun: Run, sealed: Sealed) -> None:
    directory = begun.socket("listening").socket(None).close()
    found = verdict(sealed(directory))
    assert found.status == "UNKNOWN"
    assert [one.message for one in found.findings] == [
        "after the end of web process 70 still listened on its port, 127.0.0.1:8080"
    ]

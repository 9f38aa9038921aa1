"""Starting, killing, clocks, hammering and watching."""

import itertools
from pathlib import Path

import msgspec
import pytest

from chaos.spec.target import Target
from tests.builders.gate_runs import Evidence, Row, run_steps, target


def number(row: Row, column: str) -> float:
    return float(str(row[column]))


def test_a_process_that_is_killed_can_be_started_again(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {kill: web}
          - {kill: web}
          - {request: {get: /readyz}, expect: {outcome: error}}
          - start: web
            env: {MORE: "{greeting}"}
            config: {nested: {level: "{seed}", off: "OFF"}}
          - {start: web}
          - {request: {get: /environment}, expect: {json: {MORE: hello, GREETING: hello}}}
          - {request: {get: /config}, expect: {text: "/nested:\\n  level: 46\\n  'off': 'OFF'/"}}
          - {kill: web, signal: TERM}
          - {start: web, config: {nested: {more: 1}}}
          - {request: {get: /config}, expect: {text: "/level: 46\\n  'off': 'OFF'\\n  more: 1/"}}
          - {kill: web, signal: STOP}
          - {kill: web, signal: CONT}
          - {kill: web, signal: NOPE}
          - {kill: nobody}
        """,
    )
    assert evidence.details() == [
        "web is not running, so it cannot be sent a signal",
        "web is running already: kill it before it is started again",
        "there is no signal 'NOPE'",
        "nobody is not running, so it cannot be sent a signal",
    ]
    lives = evidence.rows("processes")
    assert [(row["exit"], row["ended_by"]) for row in lives] == [
        (-9, "kill"),
        (0, "kill"),
        (0, "teardown"),
    ]
    assert [row["output"] for row in lives] == ["000.web.log", "001.web.log", "002.web.log"]
    assert len({row["pid"] for row in lives}) == 3
    for row in lives:
        assert number(row, "started_ms") < number(row, "ready_ms") < number(row, "exited_ms")
    for before, after in itertools.pairwise(lives):
        assert number(before, "exited_ms") <= number(after, "started_ms")
    assert b"goodbye" in (evidence.directory / "output" / "001.web.log").read_bytes()


def test_a_restart_stops_all_before_any_is_started_again_as_it_was(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {start: other, env: {MORE: "{greeting}"}}
          - restart: [web, other]
          - {request: {get: /environment}, to: other, expect: {json: {MORE: hello}}}
          - {kill: other}
          - restart: [web, other]
          - {request: {get: /readyz}, expect: {status: 200}}
          - restart: [nobody]
        """,
    )
    assert evidence.details() == [
        "other is not running, so it cannot be stopped",
        "nobody is not running, so it cannot be stopped",
    ]
    lives = evidence.rows("processes")
    ends = [number(row, "exited_ms") for row in lives[:2]]
    starts = [number(row, "started_ms") for row in lives[2:]]
    assert max(ends) <= min(starts)
    assert sorted((str(row["process"]), row["exit"], row["ended_by"]) for row in lives) == [
        ("other", -9, "kill"),
        ("other", 0, "kill"),
        ("web", 0, "kill"),
        ("web", 0, "teardown"),
    ]


def test_a_restart_of_what_does_not_come_back_fails(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {write: "{state}/trivial.db", absent: true}
          - restart: [gone]
        """,
        needs=["gone"],
        target=with_a_process_that_starts_once(),
    )
    assert evidence.outcomes() == [("scenario.0", "ok"), ("scenario.1", "failed")]
    assert str(evidence.details()[0]).startswith("gone exited with 3 before it was ready")


def with_a_process_that_starts_once() -> Target:
    known = target()
    command = "sh -c 'test -e {state}/trivial.db || exit 3; exec {python} tests/targets/trivial.py serve {state}'"
    gone = msgspec.structs.replace(known.processes["web"], run=command, env={"PORT": "{port.gone}"})
    return msgspec.structs.replace(known, processes={"gone": gone})


def test_a_start_that_is_to_fail_is_compared_with_its_exit(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {start: other, env: {EXIT_WITH: "78"}, expect: {exit: 78, errors: "/refusing/", ready: false}, name: refused}
          - {start: other, env: {EXIT_WITH: "1"}, expect: {exit: 78}}
          - {start: other, env: {EXIT_WITH: "78"}}
          - {start: other, expect: {exit: 78}, within: 150ms}
          - {start: other, env: {NEVER_READY: "1"}, within: 4s}
          - {kill: other}
          - {start: other}
          - {start: nobody}
        """,
    )
    assert [outcome for _, outcome in evidence.outcomes()] == [
        "ok",
        "failed",
        "failed",
        "failed",
        "failed",
        "ok",
        "ok",
        "error",
    ]
    details = [str(detail) for detail in evidence.details()]
    assert details[0] == "exit: expected 78, got 1"
    assert details[1].startswith("other exited with 78 before it was ready:\nrefusing to start")
    assert details[2] == "other was expected to exit within 150ms and was still running"
    assert details[3] == "other was not ready within 4s:\nwaiting for ever with [redacted]"
    assert details[4] == "target trivial has no process 'nobody'"
    commands = evidence.rows("commands")
    assert [row["exit"] for row in commands] == [78, 1, None]
    assert commands[0]["step"] == "refused"
    assert "refusing to start" in str(commands[0]["errors"])


def clocks(evidence: Evidence, name: str) -> dict[str, float]:
    """How far the clocks of the process are off from the harness's own, in seconds."""
    (row,) = [row for row in evidence.requests() if row["step"] == name]
    (begun,) = evidence.rows("runs")
    told = row["response"]
    assert isinstance(told, dict)
    wall_s = (number(begun, "epoch_ms") + number(row, "done_ms")) / 1000
    return {clock: float(told[clock]) - wall_s for clock in ("time", "datetime")} | {
        "monotonic": float(told["monotonic"])
    }


def test_a_wall_clock_is_shifted_and_moved_while_the_monotonic_one_stays_true(
    tmp_path: Path,
) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {request: {get: /time}, name: before}
          - {kill: web}
          - {start: web, clock_offset: 1h}
          - {request: {get: /time}, name: ahead}
          - {clock: web, offset: -90s}
          - {request: {get: /time}, name: behind}
          - {clock: web, offset: 0s}
          - {request: {get: /time}, name: true}
          - {start: other}
          - {clock: other, offset: 1s}
        """.replace("name: true", "name: right"),
    )
    assert evidence.details() == [
        "other was not started with `clock_offset`, so its clock cannot be moved"
    ]
    found = {name: clocks(evidence, name) for name in ("before", "ahead", "behind", "right")}
    for name, offset_s in (("before", 0), ("ahead", 3600), ("behind", -90), ("right", 0)):
        assert found[name]["time"] == pytest.approx(offset_s, abs=2)
        assert found[name]["datetime"] == pytest.approx(offset_s, abs=2)
    monotonic = [clock["monotonic"] for clock in found.values()]
    assert monotonic == sorted(monotonic)
    assert monotonic[-1] - monotonic[0] < 60


def test_power_is_lost_by_who_was_started_with_its_disk(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {kill: web, drop_unsynced: true}
          - {kill: web}
          - {start: web, disk: "{state}/none.db"}
          - {kill: web, drop_unsynced: true}
        """,
    )
    assert [outcome for _, outcome in evidence.outcomes()] == ["error", "ok", "ok", "ok"]
    assert evidence.details() == [
        "web was not started with `disk`, so what it did not sync is not known"
    ]
    dropped = [(row["part"], row["did"], row["bytes"]) for row in evidence.rows("disk_operations")]
    assert dropped == [(part, "dropped", 0) for part in ("main", "wal", "journal")]


def test_hammering_begins_before_the_start_and_counts_what_was_accepted(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - hammer: other
            name: refused
            expect: {accepted: 0}
            meanwhile:
              - {start: other, env: {EXIT_WITH: "78"}, expect: {exit: 78}}
          - hammer: other
            name: accepted
            linger: 20ms
            expect: {accepted: "> 0"}
            meanwhile: [{start: other}]
          - hammer: other
            linger: 0ms
            expect: {accepted: 0}
            meanwhile: [{pause: 5ms}]
        """,
        needs=[],
    )
    assert [outcome for _, outcome in evidence.outcomes()] == [
        "ok",
        "ok",
        "ok",
        "ok",
        "ok",
        "failed",
    ]
    refused, accepted, last = evidence.rows("hammers")
    assert (refused["hammer"], refused["accepted"], refused["accepted_ms"]) == ("refused", 0, None)
    assert number(refused, "tries") > 3
    began = {row["step"]: number(row, "began_ms") for row in evidence.rows("steps")}
    assert number(refused, "hammer_began_ms") <= began["scenario.0.meanwhile.0"]
    (life,) = [row for row in evidence.rows("processes") if row["ready_ms"] is not None]
    assert number(life, "started_ms") <= number(accepted, "accepted_ms")
    assert number(accepted, "tries") > number(accepted, "accepted") > 0
    assert number(last, "tries") > 0


def test_a_watched_database_shows_no_half_of_a_transaction(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - watch: snapshots
            every: 1ms
            database: "{state}/trivial.db"
            sql: "SELECT count(*) AS n, '{greeting}' AS word FROM effects WHERE name <> 'zero'"
            meanwhile:
              - repeat: 10
                steps: [{request: {post: /add}}]
        """,
    )
    assert evidence.details() == []
    rows = [row for row in evidence.rows("rows") if row["query"] == "snapshots"]
    assert [row["snapshot"] for row in rows] == list(range(len(rows)))
    looked = [row["row"] for row in rows]
    counts = [row["n"] for row in looked if isinstance(row, dict) and row["word"] == "hello"]
    assert len(counts) == len(rows) > 3
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 20)
    assert not [n for n in counts if int(str(n)) % 2]


def test_processes_and_sockets_are_watched(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - watch: samples
            every: 2ms
            processes: [web, other]
            meanwhile:
              - {kill: web, signal: STOP}
              - {request: {get: /readyz}, within: 50ms, expect: {outcome: info}}
          - {kill: web, signal: CONT}
          - watch: listening
            sockets: true
            meanwhile: [{start: other}]
          - watch: nothing
            meanwhile: [{pause: 1ms}]
          - watch: gone
            database: "{state}/gone.db"
            sql: "SELECT 1"
            meanwhile: [{pause: 1ms}]
        """,
    )
    samples = evidence.rows("process_samples")
    assert {row["process"] for row in samples} == {"web"}
    assert samples[-1]["state"] == "T"
    assert all(
        number(row, "rss_bytes") > 1_000_000 and number(row, "descriptors") > 3 for row in samples
    )
    sockets = evidence.rows("sockets")
    assert {(row["process"], row["address"]) for row in sockets} == {
        ("web", "127.0.0.1"),
        ("other", "127.0.0.1"),
    }
    assert len({row["port"] for row in sockets}) == 2
    nothing, gone = [str(detail) for detail in evidence.details()]
    assert nothing.startswith("`watch` needs `database` with `sql`")
    assert gone.startswith("cannot watch gone.db: ")

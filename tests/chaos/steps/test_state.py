"""Commands, files and databases."""

import sqlite3
from pathlib import Path

import apsw
import msgspec
import pytest

from chaos.engine.files import database_copy, select, table_digests
from chaos.errors import HarnessError
from chaos.spec.target import ProcessSpec, Target
from chaos.steps.corrupt import Corrupt, damage
from tests.builders.gate_runs import run_steps, target


def test_a_command_is_run_without_a_shell_and_recorded(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - run: "{python} -c 'import sys; print(sys.argv[1:], sys.stdin.read())' a '{greeting} $X' {url.web}"
            name: words
            stdin: "in {greeting}"
            expect: {exit: 0, output: "/hello \\\\$X.*in hello/"}
          - run: "{python} -c 'print(1/0)'"
            expect: {exit: 1, errors: "/ZeroDivisionError/"}
          - run: "{python} -c 'import os; print(os.environ[\\"MORE\\"], os.getcwd())'"
            env: {MORE: "{greeting}"}
            expect: {output: "hello {root}\\n"}
          - run: "echo '[1]'"
            capture: {first: "$[0]"}
            expect: {output: [1]}
          - run: echo {first}
            expect: {output: 1}
          - run: "false"
          - run: "echo 5"
            capture: {x: $.x}
          - run: "no-such-program --flag"
          - run: "sleep 600"
            within: 50ms
        """,
        needs=[],
    )
    assert evidence.outcomes() == [
        *[(f"scenario.{n}", "ok") for n in range(5)],
        ("scenario.5", "failed"),
        ("scenario.6", "failed"),
        ("scenario.7", "error"),
        ("scenario.8", "error"),
    ]
    assert evidence.details() == [
        "exit: expected 0, got 1",
        "nothing to capture at $.x",
        "cannot run 'no-such-program': No such file or directory",
        "`sleep 600` did not end within 50ms",
    ]
    commands = evidence.rows("commands")
    assert [row["exit"] for row in commands] == [0, 1, 0, 0, 0, 1, 0]
    argv = commands[0]["argv"]
    assert isinstance(argv, list)
    assert argv[3:5] == ["a", "hello $X"]
    assert commands[0]["step"] == "words"


def test_what_a_variable_holds_never_becomes_two_arguments(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - repeat: {word: ["a b", "; rm x", "'"]}
            steps:
              - run: "echo {word}"
        """,
        needs=[],
    )
    assert [row["argv"] for row in evidence.rows("commands")] == [
        ["echo", "a b"],
        ["echo", "; rm x"],
        ["echo", "'"],
    ]


def test_files_are_replaced_damaged_and_removed(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {write: "{state}/a", text: "{greeting} there", mode: "0600"}
          - {write: "{state}/a", json: {x: "{seed}"}}
          - {run: "stat -c %a {state}/a", expect: {output: 600}}
          - {run: "cat {state}/a", expect: {output: {x: 46}}}
          - {write: "{state}/b", copy_of: "{state}/a"}
          - {write: "{state}/a", directory: true}
          - {run: "stat -c %F {state}/a", expect: {output: "directory\\n"}}
          - {write: "{state}/a", absent: true}
          - {write: "{state}/a", absent: true}
          - {run: "ls {state}/a", expect: {exit: 2}}
          - {corrupt: "{state}/b", truncate_to: 3}
          - {corrupt: "{state}/b", append: "!"}
          - {corrupt: "{state}/b", flip: -1}
          - {run: "od -An -tx1 {state}/b", expect: {output: "/7b 22 78 de/"}}
          - {write: "{state}/b", mode: "0644"}
          - {run: "stat -c %a {state}/b", expect: {output: 644}}
        """,
        needs=[],
    )
    assert evidence.details() == []


@pytest.mark.parametrize(
    ("step", "detail"),
    [
        ('{write: "{state}/a"}', "`write` needs exactly one of"),
        ('{write: "{state}/a", text: a, absent: true}', "`write` needs exactly one of"),
        ('{write: "{state}/a", text: a, mode: rwx}', 'a mode is written like "0600"'),
        ('{write: "{state}/a", absent: true, mode: "0600"}', "what is absent has no mode"),
        ('{write: "{state}/a", mode: "0600"}', ": No such file or directory"),
        ('{write: "{state}/no/where", text: a}', ": No such file or directory"),
        ('{write: "{state}/a", copy_of: "{state}/gone"}', ": No such file or directory"),
        ('{write: "{state}/a", sql: "SELECT 1"}', "a does not exist, so no SQL can be run on it"),
        ('{write: "{state}/trivial.db", sql: "SELEC"}', "the SQL does not run: "),
        (
            '{write: "{state}/trivial.db", sql: "DELETE FROM effects WHERE id = 99"}',
            "the SQL changed nothing",
        ),
        ('{corrupt: "{state}/a", append: x}', "a does not exist, so it cannot be corrupted"),
        ('{corrupt: "{state}/trivial.db"}', "`corrupt` needs exactly one of"),
        ('{corrupt: "{state}/trivial.db", flip: 1, fill: 2}', "`corrupt` needs exactly one of"),
        (
            '{corrupt: "{state}/trivial.db", truncate_to: -1}',
            "a number of bytes cannot be negative",
        ),
        (
            '{corrupt: "{state}/trivial.db", truncate_to: 999999999}',
            "corrupting trivial.db changed nothing",
        ),
        ('{corrupt: "{state}/trivial.db", flip: 999999999}', "offset 999999999 is outside of the "),
        (
            '{query: "{state}/gone.db", sql: "SELECT 1"}',
            "gone.db does not exist in the state directory",
        ),
        ('{query: "{state}/trivial.db"}', "`query` needs either `sql` or `digests: true`"),
        ('{query: "{state}/trivial.db", sql: "SELECT nope"}', "the query does not run: "),
        ('{query: "{state}/events.jsonl", digests: true}', "events.jsonl cannot be read: "),
        (
            '{query: "{state}/trivial.db", sql: "SELECT 1 AS a", capture: {x: "$.rows[1]"}}',
            "nothing to capture at $.rows[1]",
        ),
    ],
)
def test_what_cannot_be_done_to_state_says_why(tmp_path: Path, step: str, detail: str) -> None:
    evidence = run_steps(tmp_path, f"scenario:\n          - {step}\n", needs=[])
    (said,) = evidence.details()
    assert detail in str(said)


@pytest.mark.parametrize(
    ("options", "result"),
    [
        ({"truncate_to": 0}, b""),
        ({"truncate_to": 2}, b"ab"),
        ({"flip": 0}, b"\x9ebcd"),
        ({"flip": -1}, b"abc\x9b"),
        ({"fill": 1, "length": 2}, b"a\xff\xffd"),
        ({"fill": 3, "length": 20}, b"abc\xff"),
        ({"fill": -4}, b"\xffbcd"),
        ({"append": "e"}, b"abcde"),
    ],
)
def test_damage(options: dict[str, int], result: bytes) -> None:
    assert damage(Corrupt(corrupt="x", **options), b"abcd") == result


@pytest.mark.parametrize("offset", [4, -5])
def test_damage_outside_of_a_file(offset: int) -> None:
    with pytest.raises(HarnessError, match=f"offset {offset} is outside of the 4 bytes"):
        damage(Corrupt(corrupt="x", flip=offset), b"abcd")


def test_a_database_that_is_open_is_neither_read_nor_written(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {start: holder}
          - {query: "{state}/trivial.db", digests: true}
          - {write: "{state}/trivial.db", sql: "DELETE FROM effects"}
          - {kill: holder}
          - {query: "{state}/trivial.db", sql: "SELECT name, raw FROM effects", name: before, capture: {n: "$.rows[0].name"}}
          - {query: "{state}/trivial.db", digests: true, name: digests}
          - {write: "{state}/trivial.db", sql: "INSERT INTO effects (name) VALUES ('{n}-more'); DELETE FROM effects WHERE id = 1"}
          - {query: "{state}/trivial.db", sql: "SELECT * FROM effects WHERE 0", name: none}
          - {query: "{state}/trivial.db", sql: "SELECT id, name FROM effects", name: after}
          - {query: "{state}/trivial.db", digests: true, without: [sqlite_sequence], name: digests}
        """,
        needs=[],
        target=with_holder(),
    )
    outcomes = [outcome for _, outcome in evidence.outcomes()]
    assert outcomes == ["ok", "error", "error", *["ok"] * 7]
    for detail in evidence.details():
        assert "trivial.db is open in process " in str(detail)
    rows = [(row["query"], row["row"]) for row in evidence.rows("rows")]
    digests = [row for query, row in rows if query == "digests" and isinstance(row, dict)]
    assert [(row["table"], row["rows"]) for row in digests] == [
        ("sqlite_schema", 1),
        ("effects", 1),
    ] * 2
    assert digests[0] == digests[2]
    assert digests[1] != digests[3]
    assert [pair for pair in rows if pair[0] != "digests"] == [
        ("before", {"name": "zero", "raw": "00ff"}),
        ("after", {"id": 2, "name": "zero-more"}),
    ]


def with_holder() -> Target:
    """The small target with one more process, which holds the database open."""
    code = (
        "import signal, socket, sqlite3, sys\n"
        "held = sqlite3.connect(sys.argv[1]); held.execute('SELECT * FROM effects').fetchall()\n"
        "server = socket.create_server(('127.0.0.1', int(sys.argv[2]))); signal.pause()"
    )
    command = f'{{python}} -c "{code}" {{state}}/trivial.db {{port.holder}}'
    holder = ProcessSpec(run=command, port=7103)
    base = target()
    return msgspec.structs.replace(base, processes={**base.processes, "holder": holder})


def test_a_copy_reads_the_log_and_leaves_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute('CREATE TABLE "odd ""name" (a, b)')
    writer.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    writer.execute('INSERT INTO "odd ""name" VALUES (?, ?), (?, ?)', ("00", b"\x00", b"\x00", "00"))
    writer.commit()
    log = path.with_name("x.db-wal").read_bytes()
    with database_copy(path) as connection:
        assert select(connection, 'SELECT a, b FROM "odd ""name"') == [{"a": "00", "b": "00"}] * 2
        tables = {row["table"]: row for row in table_digests(connection, ["words_config"])}
    assert tables['odd "name']["rows"] == 2
    assert "words" not in tables
    assert "words_config" not in tables
    assert "words_content" in tables
    assert path.with_name("x.db-wal").read_bytes() == log
    writer.close()


def test_digests_tell_a_text_from_equal_bytes_and_not_the_order_of_rows(tmp_path: Path) -> None:
    def digest(*values: object) -> object:
        connection = apsw.Connection(":memory:")
        connection.execute("CREATE TABLE t (x)")
        for value in values:
            connection.execute("INSERT INTO t VALUES (?)", (value,))
        return table_digests(connection, [])[1]["sha256"]

    assert digest("ab") != digest(b"ab")
    assert digest(1) != digest("1")
    assert digest(1, 2) == digest(2, 1)
    assert digest(None) != digest()


_MAKE = '"{python} -c \'import sqlite3; c = sqlite3.connect(\\"{state}/a.db\\"); c.executescript(\\"pragma journal_mode=wal; create table t (x)\\")\'"'
_WRITE = '"{python} -c \'import sqlite3; c = sqlite3.connect(\\"{state}/a.db\\", timeout=0); c.execute(\\"insert into t values (1)\\"); c.commit()\'"'


def test_a_lock_is_held_from_outside_and_proven(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        f"""
        scenario:
          - run: {_MAKE}
          - hold: "{{state}}/a.db"
            name: inside
            meanwhile:
              - {{run: {_WRITE}, expect: {{exit: 1, errors: /database is locked/}}}}
          - run: {_WRITE}
          - {{hold: "{{state}}/a.db", name: a while, for: 50ms}}
          - run: {_WRITE}
          - query: "{{state}}/a.db"
            sql: select count(*) as n from t
            capture: {{n: "$.rows[0].n"}}
          - {{run: "echo {{n}}", expect: {{output: 2}}}}
        """,
        needs=[],
    )
    assert evidence.details() == []
    inside, a_while = evidence.rows("holds")
    for row in (inside, a_while):
        assert (row["file"], row["proven"], row["why"]) == ("a.db", True, None)
    write = next(row for row in evidence.rows("commands") if row["exit"] == 1)
    assert float(str(inside["held_ms"])) <= float(str(write["command_began_ms"]))
    assert float(str(write["command_ended_ms"])) <= float(str(inside["released_ms"]))
    assert float(str(a_while["released_ms"])) - float(str(a_while["held_ms"])) >= 50


def test_a_lock_that_was_not_held_all_the_while_is_an_error(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        f"""
        scenario:
          - hold: "{{state}}/a.db"
            for: 1ms
          - run: {_MAKE}
          - hold: "{{state}}/a.db"
            meanwhile:
              - {{write: "{{state}}/a.db-shm", absent: true}}
          - {{write: "{{state}}/a.db", text: "no database, whatever its name says, and long enough to be looked at"}}
          - hold: "{{state}}/a.db"
            meanwhile:
              - pause: 1ms
        """,
        needs=[],
    )
    assert evidence.outcomes() == [
        ("scenario.0", "error"),
        ("scenario.1", "ok"),
        ("scenario.2.meanwhile.0", "ok"),
        ("scenario.2", "error"),
        ("scenario.3", "ok"),
        ("scenario.4.meanwhile.0", "skipped"),
        ("scenario.4", "error"),
    ]
    assert [row["proven"] for row in evidence.rows("holds")] == [False, False]
    missing, replaced, _, strange = evidence.details()
    assert missing == "a.db does not exist, so its lock cannot be held"
    assert replaced == "the lock of a.db was not held all the while: somebody else could take it"
    assert strange == "the lock of a.db is not held: file is not a database"

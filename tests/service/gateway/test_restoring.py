"""What a boot takes up again: in order, the same for the same contents, and nothing that cannot be read."""

import hashlib
import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from service.control import open_control
from service.errors import StartRefused
from service.gateway import restoring
from service.gateway.restoring import Restored, record, restore
from service.storage.migrations import migrate
from tests.service.gateway.inprocess import inside
from tests.service.running import State, alter

ARGS = b'{"path":"a"}'
FILL = f"""
    INSERT INTO sessions VALUES (1, 's1', 'é"', 1, 2, NULL, 0, 't', 'r'), (2, 's2', '', 1, 2, 2, 0, 't', 'r');
    INSERT INTO tasks (seq, id, kind, payload, session_id, status, created_at_ms, updated_at_ms, created_by, request_id)
        VALUES (1, 't1', 'k', '{{}}', 's1', 'queued', 1, 1, 't', 'r'), (2, 't2', 'k', '{{}}', NULL, 'completed', 1, 1, 't', 'r');
    INSERT INTO confirmations (seq, id, tool, args, args_sha256, session_id, status, created_at_ms, expires_at_ms, created_by,
        request_id) VALUES (1, 'c1', 'file.write', x'{ARGS.hex()}', '{hashlib.sha256(ARGS).hexdigest()}', 's1', 'pending', 1, 9, 't', 'r');
    INSERT INTO restart_budgets VALUES ('memory', 1, 2, 3, 0, 4);
"""
UNREADABLE = {
    "a task's payload": ("tasks", "UPDATE tasks SET payload = '{' WHERE seq = 1"),
    "a payload that is no object": ("tasks", "UPDATE tasks SET payload = '[1]' WHERE seq = 1"),
    "other arguments": ("confirmations", "UPDATE confirmations SET args = x'7b7d'"),
}


@pytest.fixture
def filled() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    migrate(connection, 1)
    connection.execute(FILL)
    return connection


def test_what_is_open_is_taken_up_in_order(filled: apsw.Connection) -> None:
    times = iter(range(4))
    phases = restore(filled, "boot_1", lambda: float(next(times)))
    assert [(each.phase, each.rows, each.monotonic_ms) for each in phases] == [
        ("sessions", 1, 0),
        ("confirmations", 1, 1),
        ("tasks", 1, 2),
        ("restart_budgets", 1, 3),
    ]
    said = json.dumps(["s1", 'é"', 1, 2, 0, "t"], ensure_ascii=False, separators=(",", ":"))
    assert phases[0].sha256 == hashlib.sha256(said.encode() + b"\n").hexdigest()
    assert not filled.in_transaction


def test_the_digest_is_that_of_the_contents(filled: apsw.Connection) -> None:
    digests = [tuple(each.sha256 for each in restore(filled, name)) for name in "ab"]
    assert digests[0] == digests[1]
    for table, column in (
        ("sessions", "turn_count"),
        ("confirmations", "expires_at_ms"),
        ("tasks", "claim_epoch"),
        ("restart_budgets", "attempt_count"),
    ):
        filled.execute(f"UPDATE {table} SET {column} = {column} + 1")
        digests.append(tuple(each.sha256 for each in restore(filled, "c")))
    assert len(set(digests)) == 5


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_row_that_cannot_be_read_stops_the_boot(filled: apsw.Connection, name: str) -> None:
    table, statement = UNREADABLE[name]
    filled.execute(statement)
    with pytest.raises(StartRefused, match=f"row 1 of what is open in {table} cannot be read"):
        restore(filled, "boot_1")
    assert not filled.in_transaction


def test_a_gateway_tells_what_it_took_up(state: State) -> None:
    trace = state.directory.boot_trace
    for boot in (1, 2):
        with inside(state) as opened:
            again = opened.control.storage.read(partial(restore, boot_id="again"))
        lines = told(trace)
        assert len(lines) == 4 * boot
        assert [each.sha256 for each in lines[-4:]] == [each.sha256 for each in again]
        assert len({each.boot_id for each in lines}) == boot
        assert [each.monotonic_ms for each in lines] == sorted(each.monotonic_ms for each in lines)
    assert trace.stat().st_mode & 0o777 == 0o600


def test_a_boot_that_is_stopped_tells_nothing(state: State) -> None:
    with closing(open_control(state.directory)):
        pass
    alter(state, FILL + "; UPDATE tasks SET payload = '{'")
    with pytest.raises(StartRefused, match="tasks cannot be read"), inside(state):
        pass
    assert not state.directory.boot_trace.exists()


def test_a_trace_ends_with_whole_lines_and_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "boot.jsonl"
    trace.write_bytes(b'{"boot_id":"x","ph')
    one = Restored("b", "sessions", 1, "0" * 64, 1.0)
    record(trace, (one,))
    assert told(trace, skip=1) == [one]
    monkeypatch.setattr(restoring, "MOST_BYTES", 1000)
    for number in range(20):
        record(trace, (msgspec.structs.replace(one, rows=number),))
        assert trace.stat().st_size < 1300
    assert told(trace)[-1].rows == 19
    assert [path.name for path in tmp_path.iterdir()] == ["boot.jsonl"]


def told(trace: Path, skip: int = 0) -> list[Any]:
    lines = trace.read_bytes().splitlines()[skip:]
    return [msgspec.json.decode(line, type=Restored) for line in lines]

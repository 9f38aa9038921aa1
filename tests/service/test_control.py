"""Opening a state directory: what is refused stays as it was found, and whoever only reads writes nothing."""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw
import pytest

from service import control
from service.audit import checkpoints
from service.audit.checkpoints import read_checkpoints
from service.control import look_over, open_control
from service.effects import Effect, system_cause
from service.errors import EXIT_REFUSED, StartRefused, Unavailable
from service.state import StateDir
from tests.service.conformance.conversation import command
from tests.service.running import State, alter, new_state, rows

Damage = Callable[[State], object]
CAUSE = system_cause("test", "act", "req_test")
READING = (("token", "list"), ("audit", "verify"), ("doctor",))


def act(opened: control.Control, times: int = 1) -> None:
    for _ in range(times):
        opened.storage.change_now(CAUSE, lambda _: Effect(None, "things", "1"))


def run(state: State, *arguments: str) -> int:
    """Run a command in this process; what it says is written as it would."""
    exit_code, output, errors = command(*arguments, "--state", str(state.directory.root))
    sys.stdout.write(output)
    sys.stderr.write(errors)
    return exit_code


OWNED = (
    "doctor",
    "run gateway",
    "token issue --role operator",
    "audit verify",
    "backup x",
    "restore x",
    "migrate up",
    "keys rotate",
    "incident export --last 5m",
)
"""What is not done to a state directory of another user."""


def content(root: Path, *without: str) -> dict[str, bytes]:
    """Everything in a state directory, but for what SQLite's processes share while they run."""
    return {
        path.name: path.read_bytes()
        for path in root.iterdir()
        if path.is_file() and not path.name.endswith(("-shm", *without))
    }


def sql(statement: str) -> Damage:
    return lambda state: alter(state, statement)


def tear(state: State, torn: bytes = b'{"seq":1') -> None:
    with state.directory.checkpoints.open("ab") as file:
        file.write(torn)


DAMAGED: dict[str, Damage] = {
    "the end of the log": sql("DELETE FROM audit WHERE seq = 4"),
    "a row in its middle": sql("UPDATE audit SET actor_id = 'x' WHERE seq = 2"),
    "a checkpoint": lambda state: state.directory.checkpoints.write_text("x\n"),
    "all checkpoints": lambda state: state.directory.checkpoints.unlink(),
    "a checkpoint that was begun for a row that is gone": partial(tear, torn=b'{"seq":9'),
    "the database": lambda state: state.directory.database.write_bytes(b"SQLite" * 1000),
    "the schema": sql("DROP TABLE audit"),
    "the clock": lambda state: state.directory.clock.unlink(),
    "the settings": lambda state: state.directory.settings.unlink(),
}


@pytest.fixture
def logged(state: State) -> State:
    with closing(open_control(state.directory)) as opened:
        act(opened, 2)
    return state


@pytest.mark.parametrize("name", DAMAGED)
def test_a_refusal_is_the_same_the_second_time_and_writes_nothing(
    name: str, logged: State, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGED[name](logged)
    before = content(logged.directory.root)
    told = []
    # Of a gateway without its database, which is not refused, tests/service/gateway/test_degraded.py tells.
    third = "migrate up" if name == "the database" else "run gateway"
    for asked in ("token issue --role operator", "doctor", third):
        assert run(logged, *asked.split()) == EXIT_REFUSED
        told.append(capsys.readouterr().err)
        assert "; " in told[-1]
    assert told[0] == told[1] == told[2]
    assert told[0].count("\n") == 1
    logged.directory.gateway_lock.unlink()
    before.pop("gateway.lock", None)
    assert content(logged.directory.root) == before


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(errno.EROFS, "whether it can be written"), (errno.EACCES, "run as the owner")],
)
def test_a_disk_that_cannot_be_written_is_said_to_be_that_and_can_be_read(
    error: int,
    remedy: str,
    logged: State,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    really, root = os.open, str(logged.directory.root)
    logged.directory.gateway_lock.touch(0o600)

    def read_only(path: str | Path, flags: int, *more: int, **others: int) -> int:
        if str(path).startswith(root) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(error, os.strerror(error), str(path))
        return really(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", read_only)
    for asked in ("token issue --role operator", "run gateway", "restore x", "keys rotate"):
        assert run(logged, *asked.split()) == EXIT_REFUSED
        told = capsys.readouterr().err
        assert os.strerror(error) in told
        assert remedy in told
    assert run(logged, "doctor") == 0


@pytest.mark.parametrize("asked", OWNED)
def test_a_state_of_another_user_is_refused_and_left_as_it_is(
    asked: str,
    logged: State,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, there = content(logged.directory.root), set(logged.directory.root.iterdir())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert run(logged, *asked.split()) == EXIT_REFUSED
    told = capsys.readouterr().err
    assert "belongs to another user" in told
    assert told.endswith("; run as the owner of the state directory\n")
    assert (content(logged.directory.root), set(logged.directory.root.iterdir())) == (before, there)


def test_what_may_not_be_looked_at_is_a_refusal(
    logged: State, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "control.db")

    monkeypatch.setattr("service.migrating.look_at", denied)
    assert run(logged, "migrate", "status") == EXIT_REFUSED
    told = capsys.readouterr().err
    assert "Permission denied: 'control.db'; run as the owner" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("name", ["keys.json", "control.db"])
def test_a_file_of_another_state_is_said_to_be_that(
    name: str, logged: State, tmp_path: Path
) -> None:
    other = new_state(tmp_path / "other")
    shutil.copy2(other.directory.root / name, logged.directory.root / name)
    before = content(logged.directory.root)
    with pytest.raises(StartRefused, match=r"control\.db of one state in place"):
        look_over(logged.directory)
    assert content(logged.directory.root) == before


@pytest.mark.parametrize("kind", ["stopped", "killed", "torn"])
def test_who_only_reads_writes_nothing(kind: str, logged: State, tmp_path: Path) -> None:
    root = logged.directory.root
    state = logged
    if kind == "killed":
        # As it is on disk while somebody has it open: the log of the database is not folded in.
        opened = open_control(logged.directory)
        act(opened)
        root = tmp_path / "killed"
        shutil.copytree(logged.directory.root, root)
        state = State(StateDir(root), logged.operator, logged.observer)
        opened.close()
        assert (root / "control.db-wal").stat().st_size
    if kind == "torn":
        tear(state)
    before = content(root)
    for asked in READING:
        assert run(state, *asked) == 0, asked
        assert content(root) == before, asked
    assert not (root / "control.db-shm").exists() or kind == "killed"


def test_who_reads_sees_what_is_not_yet_folded_in(logged: State) -> None:
    with closing(open_control(logged.directory)) as opened:
        act(opened)
        assert look_over(logged.directory).checked.head.seq == 5
        assert run(logged, "audit", "verify") == 0


def test_a_torn_checkpoint_is_said_and_mended(
    logged: State, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = logged.directory.checkpoints.read_bytes()
    tear(logged, b'{"seq":4,"hm')
    assert run(logged, "audit", "verify") == 0
    assert 'cut off, which is no tampering: {"seq":4,"hm' in capsys.readouterr().out
    assert run(logged, "token", "issue", "--role", "observer") == 0
    assert 'put aside: {"seq":4,"hm' in capsys.readouterr().err
    assert logged.directory.checkpoints.read_bytes().startswith(whole)
    assert not read_checkpoints(logged.directory.checkpoints).torn
    assert run(logged, "audit", "verify") == 0
    assert "cut off" not in capsys.readouterr().out


UNTOLD = {
    "a token is no longer revoked": "UPDATE tokens SET revoked_at_ms = NULL",
    "a token has another role": "UPDATE tokens SET role = 'operator'",
    "a token lives longer": "UPDATE tokens SET expires_at_ms = 9000000000000",
    "a token has another secret": "UPDATE token_secrets SET sha256 = randomblob(32)",
    "a token has one more secret": "INSERT INTO token_secrets SELECT randomblob(32), token_id, created_at_ms, NULL, request_id"
    " FROM token_secrets LIMIT 1",
    "a token was put in": "INSERT INTO tokens VALUES ('tok_new', 'operator', '', 'issued', 1, NULL, NULL, 'req')",
    "a token was put in under another's request": "INSERT INTO tokens"
    " SELECT 'tok_new', 'operator', '', 'issued', 1, NULL, NULL, request_id FROM tokens LIMIT 1",
    "a token was taken out": "DELETE FROM token_secrets; DELETE FROM tokens",
    "a policy was changed": "UPDATE policies SET decision = 'allow' WHERE name = 'destructive'",
    "a policy was taken out": "DELETE FROM policies WHERE name = 'destructive'",
}
UNTOLD_WORK = {
    "a task was put in": "INSERT INTO tasks (id, kind, payload, status, created_at_ms, updated_at_ms,"
    " created_by, request_id) VALUES ('task_x', 'k', '{}', 'queued', 1, 1, 'tok', 'req_x')",
    "a confirmation was put in": "INSERT INTO confirmations (id, tool, args, args_sha256, status,"
    " created_at_ms, expires_at_ms, created_by, request_id)"
    " VALUES ('conf_x', 'shell.run', x'7b7d', 'aa', 'pending', 1, 9000000000000, 'tok', 'req_x')",
}


@pytest.fixture
def revoked(state: State) -> State:
    assert run(state, "token", "revoke", state.observer.split(".")[0]) == 0
    return state


@pytest.mark.parametrize("name", UNTOLD)
def test_what_gives_authority_and_has_no_row_is_found_at_start_and_by_verifying(
    name: str, revoked: State, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(revoked, "audit", "verify") == 0
    alter(revoked, UNTOLD[name])
    assert run(revoked, "run", "gateway") == EXIT_REFUSED
    assert "the audit log and the state do not agree" in capsys.readouterr().err
    assert run(revoked, "audit", "verify") == 1
    assert "as the log says" in capsys.readouterr().err


@pytest.mark.parametrize("name", UNTOLD_WORK)
def test_what_has_no_row_is_found_by_verifying(name: str, revoked: State) -> None:
    alter(revoked, UNTOLD_WORK[name])
    assert run(revoked, "audit", "verify") == 1


def test_rows_that_would_tell_are_missed_at_start_however_old(
    revoked: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.audit.verify.RECENT_ROWS", 3)
    with closing(open_control(revoked.directory)) as opened:
        act(opened, 4)
    with closing(open_control(revoked.directory)) as opened:
        act(opened, 4)
    look_over(revoked.directory)
    alter(revoked, "DELETE FROM audit WHERE action = 'token.revoke'")
    alter(revoked, "UPDATE tokens SET revoked_at_ms = NULL")
    with pytest.raises(StartRefused, match="rows are missing"):
        look_over(revoked.directory)


def test_a_start_asks_the_index_for_what_is_sealed(state: State) -> None:
    from service.audit.seals import _TOLD

    plan = rows(state, f"EXPLAIN QUERY PLAN SELECT seq {_TOLD}")
    assert "audit_sealed" in plan[0][3]


@pytest.mark.parametrize(
    "behind",
    [
        "DELETE FROM audit WHERE seq > 4",
        "UPDATE audit SET hmac = prev_hmac WHERE seq = 6",
        (
            "INSERT INTO audit SELECT seq + 1, at_ms, request_id, actor_id, actor_role, action, route, method, target,"
            " outcome, effect_table, effect_id, detail, hmac, hmac FROM audit ORDER BY seq DESC LIMIT 1"
        ),
    ],
)
def test_a_log_that_is_changed_under_a_running_process_ends_it_and_stays_found(
    behind: str, logged: State
) -> None:
    told: list[str] = []
    opened = open_control(logged.directory, told.append)
    act(opened, 2)
    alter(logged, behind)
    with pytest.raises(Unavailable):
        act(opened)
    opened.close()
    assert "while this process ran" in told[0]
    with pytest.raises(StartRefused, match="row"):
        look_over(logged.directory)


def test_what_another_process_appends_is_taken_up(logged: State) -> None:
    with closing(open_control(logged.directory)) as opened:
        act(opened)
        assert run(logged, "token", "issue", "--role", "observer") == 0
        act(opened)
    assert run(logged, "audit", "verify") == 0


def test_a_checkpoint_that_fails_fails_no_change(
    logged: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    logged.directory.settings.write_text("audit: {checkpoint_every: 1}")
    before = logged.directory.checkpoints.read_bytes()
    opened = open_control(logged.directory, told.append)

    def full(path: Path, line: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "_append", full)
        act(opened, 3)
        assert opened.storage.checkpoints_failed == 3
    assert told == []
    assert "no checkpoint of the audit log could be written" in caplog.text
    opened.close()
    assert read_checkpoints(logged.directory.checkpoints).last_seq == 7
    assert logged.directory.checkpoints.read_bytes().startswith(before)


@pytest.mark.parametrize(
    "error", [apsw.FullError("database or disk is full"), OSError(28, "No space left on device")]
)
def test_whatever_else_goes_wrong_at_a_start_is_a_refusal(
    error: Exception,
    state: State,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(control, "Storage", fail)
    assert run(state, "run", "gateway") == EXIT_REFUSED
    assert "look at the disk's space" in capsys.readouterr().err

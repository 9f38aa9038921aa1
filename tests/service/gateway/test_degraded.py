"""A gateway whose database is lost: it says so, admits nobody, starts nothing, and stays so until one is put in its place."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

from service.cli.init import create_state
from service.control import look_over, open_control
from service.domain.tasks.records import NewTask, create_task
from service.effects import Effect, Origin, system_cause
from service.errors import DatabaseLost, SoniaError, StartRefused
from service.gateway.degraded import HANDLERS, LostStorage, create_app
from service.processes import BEHIND, GATEWAY
from service.settings import Settings
from service.state import StateDir
from service.storage.damage import newest, put_aside
from tests.service.auth.actions import NOW, Actions
from tests.service.conformance.conversation import command
from tests.service.gateway.inprocess import ask
from tests.service.running import State, new_state, rows, running

CAUSE = system_cause("test", "act", "req_test")


def overwrite(state: State, offset: int, length: int) -> None:
    with state.directory.database.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * length)


LOST: dict[str, Callable[[State], object]] = {
    "no file": lambda state: state.directory.database.unlink(),
    "an empty one": lambda state: state.directory.database.write_bytes(b""),
    "a damaged page": lambda state: overwrite(state, 4096, 8192),
    "another header": lambda state: overwrite(state, 0, 16),
    "half of it": lambda state: state.directory.database.write_bytes(
        state.directory.database.read_bytes()[:8192]
    ),
    "text": lambda state: state.directory.database.write_bytes(b"SQLite" * 1000),
}


def run(state: State, *arguments: str) -> tuple[int, str]:
    code, output, errors = command(*arguments, "--state", str(state.directory.root))
    return code, output + errors


@pytest.mark.parametrize("name", LOST)
def test_a_lost_database_is_known_and_never_a_fresh_one(name: str, state: State) -> None:
    LOST[name](state)
    for _ in range(2):
        with pytest.raises(DatabaseLost, match="control"):
            look_over(state.directory)
    code, said = run(state, "doctor")
    assert (code, said.count("\n")) == (78, 1)
    assert "sonia restore BACKUP" in said
    put_aside(state.directory, 5)
    put_aside(state.directory, 5)
    with pytest.raises(DatabaseLost, match="was there before"):
        look_over(state.directory)
    with pytest.raises(SoniaError, match="in use already"):
        create_state(state.directory, force=False)


def test_other_damage_is_refused_and_no_lost_database(state: State) -> None:
    state.directory.checkpoints.unlink()
    with pytest.raises(StartRefused) as refused:
        look_over(state.directory)
    assert not isinstance(refused.value, DatabaseLost)


def test_journals_are_put_aside_with_their_database(state: State) -> None:
    for end in ("-wal", "-shm"):
        state.directory.root.joinpath(f"control.db{end}").write_bytes(end.encode())
    place = put_aside(state.directory, 7)
    assert place is not None
    assert sorted(path.name for path in place.iterdir()) == [
        "control.db",
        "control.db-shm",
        "control.db-wal",
    ]
    assert newest(state.directory) == place
    assert not list(state.directory.root.glob("control.db*"))
    assert put_aside(state.directory, 8) is None


def test_a_kill_while_it_is_put_aside_leaves_no_database_and_is_finished(state: State) -> None:
    moving = state.directory.quarantine / "moving"
    moving.mkdir(parents=True)
    wal = state.directory.root / "control.db-wal"
    wal.touch(mode=0o600)
    state.directory.database.rename(moving / "control.db")
    with pytest.raises(DatabaseLost, match="only in part"):
        look_over(state.directory)
    place = put_aside(state.directory, 9)
    assert place is not None
    assert {path.name for path in place.iterdir()} == {"control.db", "control.db-wal"}
    # What an operator put there meanwhile does not take the place of what was moved.
    moving.mkdir()
    (moving / "control.db").write_bytes(b"old")
    state.directory.database.write_bytes(b"new")
    second = put_aside(state.directory, 9)
    assert second is not None
    assert (second / "control.db").read_bytes() == b"new"
    assert (state.directory.quarantine / "10" / "control.db").read_bytes() == b"old"


def test_a_gateway_without_its_database_until_it_is_restored(tmp_path: Path, state: State) -> None:
    backup = tmp_path / "backup.db"
    assert run(state, "backup", str(backup))[0] == 0
    assert backup.stat().st_mode & 0o777 == 0o600
    overwrite(state, 4096, 8192)
    for _ in range(2):
        with running(state) as gateway:
            assert gateway.call("GET", "/readyz").json["status"] == "degraded"
            assert gateway.operator("GET", "/tasks").status == 503
            assert "another gateway is running" in run(state, "restore", str(backup))[1]
            assert gateway.stop() == 0
    place = newest(state.directory)
    assert place is not None
    assert run(state, "doctor", "--readmit")[0] == 1
    code, said = run(state, "restore", str(backup))
    assert (code, "--tokens" in said) == (1, True), said
    assert not list(state.directory.root.glob("control.db*"))
    code, said = run(state, "restore", str(backup), "--tokens", "keep")
    assert (code, "quarantine/" in said) == (0, True), said
    assert run(state, "audit", "verify")[0] == 0
    ((detail,),) = rows(
        state,
        "SELECT detail FROM audit WHERE action = 'database.restore' AND actor_id = 'system:restore'",
    )
    assert '"last_seq":2' in str(detail)
    with running(state) as gateway:
        assert gateway.operator("GET", "/tasks").status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/", "/tasks", "/v1/routes", "/v1/tokens", "/healthz/", "/nothing"]
)
def test_nobody_is_admitted(state: State, method: str, path: str) -> None:
    app = create_app(LostStorage("degraded", "", "", None), Settings(), GATEWAY.listen({}))
    named = {"authorization": f"Bearer {state.operator}"}
    answer = asyncio.run(ask(app, method, path, named, b""))
    assert (answer.status, answer.json["code"]) == (503, "degraded")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_what_anybody_may_ask_is_answered() -> None:
    report = LostStorage("degraded", "3", "why", "12")
    app = create_app(report, Settings(), GATEWAY.listen({}))
    answers = {}
    for path in {path for each in HANDLERS for path in each.paths}:
        answers[path] = asyncio.run(ask(app, "GET", path, {}, b""))
        assert answers[path].status == 200, path
        assert asyncio.run(ask(app, "POST", path, {}, b"")).status == 503, path
    assert set(answers) == {
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/version",
        "/v1/queues",
        "/v1/storage",
        "/v1/supervisor/services",
    }
    assert answers["/v1/storage"].json["quarantine"] == "12"
    services = answers["/v1/supervisor/services"].json["items"]
    assert [each["name"] for each in services] == [each.name for each in BEHIND]
    for each in services:
        assert (each["attempt_count"], each["exhausted"], each["synthetic"]) == (999, True, True)
    foreign = asyncio.run(ask(app, "GET", "/readyz", {"host": "evil.example"}, b""))
    assert foreign.status in {400, 421}


def at(database: Path, state: State) -> State:
    return msgspec.structs.replace(state, directory=StateDir(database.parent))


UNFIT: dict[str, Callable[[Path, State], object]] = {
    "no file": lambda path, _: path.unlink(),
    "a damaged one": lambda path, _: path.write_bytes(path.read_bytes()[:9000]),
    "another state's": lambda path, _: path.write_bytes(
        new_state(path.parent / "other").directory.database.read_bytes()
    ),
    "one of tomorrow": lambda path, state: rows(at(path, state), "PRAGMA user_version = 999"),
    "one whose log was edited": lambda path, state: rows(
        at(path, state), "UPDATE audit SET target = 'x' WHERE seq = 1"
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_backup_that_is_not_sound_changes_nothing(
    name: str, state: State, tmp_path: Path
) -> None:
    backup = tmp_path / "control.db"
    assert run(state, "backup", str(backup))[0] == 0
    UNFIT[name](backup, state)
    before = state.directory.database.read_bytes()
    code, said = run(state, "restore", str(backup))
    assert (code, said.count("\n")) == (1, 1), said
    assert state.directory.database.read_bytes() == before
    assert not state.directory.quarantine.exists()
    assert run(state, "doctor")[0] == 0


@pytest.mark.parametrize("how", ["known", "end", "keep"])
def test_what_has_ended_since_a_backup_does_not_come_back(
    how: str, state: State, tmp_path: Path
) -> None:
    backup = tmp_path / "old.db"
    with closing(open_control(state.directory)) as opened:
        actions = Actions(opened)
        kept = actions.issue(secret="first")
        revoked = actions.issue(secret="second")
        rotated = actions.issue(secret="third")
        new = NewTask("file.write", {"path": "a", "content": "x"})
        origin = Origin("tok_1", "req_test", NOW)
        for task_id in ("task_1", "task_2"):
            actions.do(lambda db, name=task_id: create_task(db, name, new, origin))
        actions.do(lambda db: create_task(db, "task_3", NewTask("note"), origin))
        assert run(state, "backup", str(backup))[0] == 0
        actions.revoke(revoked, NOW + 1)
        actions.rotate(rotated, "fourth", NOW + 1, window_ms=0)
    if how != "known":
        overwrite(state, 4096, 8192)
    told = () if how == "known" else ("--tokens", how)
    code, said = run(state, "restore", str(backup), *told)
    assert code == 0, said
    with closing(open_control(state.directory)) as opened:
        actions = Actions(opened)
        live = [actions.live(each, NOW + 2) for each in (kept, revoked, rotated)]
        assert (
            live
            == {
                "known": [["first"], [], []],
                "end": [[], [], []],
                "keep": [["first"], ["second"], ["third"]],
            }[how]
        )
    found = rows(state, "SELECT id, status FROM tasks ORDER BY seq")
    assert found == [
        ("task_1", "needs_operator"),
        ("task_2", "needs_operator"),
        ("task_3", "queued"),
    ]
    assert run(state, "audit", "verify")[0] == 0


@pytest.mark.parametrize("left", [False, True])
def test_what_a_restore_took_the_place_of_is_not_asked_about_the_next_loss(
    left: bool, state: State, tmp_path: Path
) -> None:
    backup = tmp_path / "old.db"
    assert run(state, "backup", str(backup))[0] == 0
    assert run(state, "restore", str(backup))[0] == 0
    with closing(open_control(state.directory)) as opened:
        Actions(opened).issue()
    if left:
        # By one that was cut short later, before it put anything aside.
        state.directory.restored.write_bytes(b"x")
    state.directory.database.unlink()
    mark = state.directory.clock.read_bytes()
    code, said = run(state, "restore", str(backup))
    assert (code, "--tokens" in said) == (1, True), said
    assert state.directory.clock.read_bytes() == mark


def test_a_disk_without_room_for_a_restore_is_said_and_changes_nothing(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise apsw.FullError("database or disk is full")

    backup = tmp_path / "old.db"
    assert run(state, "backup", str(backup))[0] == 0
    before = state.directory.database.read_bytes()
    monkeypatch.setattr("service.replacing.settle", fail)
    code, said = run(state, "restore", str(backup))
    assert (code, said.count("\n"), "look at the disk's space" in said) == (78, 1, True), said
    assert state.directory.database.read_bytes() == before
    assert not list(state.directory.root.glob("control.db.*"))


def test_a_backup_after_which_nothing_happened_is_put_back_as_it_is(
    state: State, tmp_path: Path
) -> None:
    backup = tmp_path / "same.db"
    origin = Origin("tok_1", "req_test", NOW)
    new = NewTask("file.write", {"path": "a", "content": "x"})
    with closing(open_control(state.directory)) as opened:
        Actions(opened).do(lambda db: create_task(db, "task_1", new, origin))
    assert run(state, "backup", str(backup))[0] == 0
    assert run(state, "restore", str(backup))[0] == 0
    assert rows(state, "SELECT status FROM tasks") == [("queued",)]


def test_an_older_backup_says_what_is_lost_and_can_be_taken_back(
    state: State, tmp_path: Path
) -> None:
    backup = tmp_path / "old.db"
    assert run(state, "backup", str(backup))[0] == 0
    assert "is there already" in run(state, "backup", str(backup))[1]
    with closing(open_control(state.directory)) as opened:
        opened.storage.change_now(CAUSE, lambda _: Effect(None, "things", "1"))
    code, said = run(state, "restore", str(backup))
    assert (code, "lost: what the rows up to 3 tell of" in said) == (0, True), said
    assert rows(state, "SELECT action FROM audit WHERE seq = 3") == [("database.restore",)]
    code, said = run(state, "doctor", "--readmit")
    assert code == 0, said
    assert rows(state, "SELECT action FROM audit WHERE seq >= 3") == [
        ("act",),
        ("database.restore",),
    ]
    assert run(state, "audit", "verify")[0] == 0

"""The oldest rows of the log in a file of their own: the chain goes through both, and whatever is done to either is noticed."""

import shutil
from collections.abc import Callable
from contextlib import closing
from functools import partial

import apsw
import msgspec
import pytest

from service.audit import archive
from service.audit.archive import Archived, Step, copy_step, delete_step
from service.audit.chain import AuditEntry, row_hmac
from service.audit.verify import AuditReport, verify_audit
from service.control import Control, look_over, open_control
from service.effects import Effect, system_cause
from service.errors import SoniaError, StartRefused
from service.keys import load_keys
from service.migrating import migrate_down
from service.query import each
from service.renewing import renew_keys
from service.replacing import replace_database
from service.settings import StorageSettings
from service.state import StateDir
from service.storage.backup import copy_database
from service.storage.database import look_at
from tests.service.conformance.conversation import command
from tests.service.running import State, rows

LATER = 1 << 60
STEP = 5
Tamper = Callable[[State], object]


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ROWS_A_STEP", STEP)


def write(control: Control, count: int, action: str = "act") -> None:
    cause = system_cause("test", action, "req_1")
    for _ in range(count):
        control.storage.change_now(cause, lambda _: Effect(None, "things", "1", {"a": [1, None]}))


def copied(control: Control, before_ms: int = LATER) -> Step | None:
    key = control.keys.audit_keys()
    copy = partial(copy_step, path=control.state.archive, keys=key, before_ms=before_ms)
    return control.storage.read(partial(copy, settings=StorageSettings()))


def archive_all(control: Control) -> int:
    """How many steps that took; at most as many as there are now."""
    newest = control.storage.read(lambda c: c.execute("SELECT max(seq) FROM audit").get)
    steps = 0
    while (step := copied(control)) and step.to_seq <= newest:
        key = control.keys.audit_keys()
        cause = system_cause("retention", "audit.archive", "req_2")
        control.storage.change_now(cause, partial(delete_step, step=step, keys=key))
        steps += 1
    return steps


def fill(state: State, count: int) -> None:
    with closing(open_control(state.directory)) as control:
        write(control, count)
        assert archive_all(control) > 0


@pytest.fixture
def archived(state: State) -> State:
    """A stopped state with the two rows of its birth, 19 more, and the rows up to 20 in the archive."""
    fill(state, 19)
    return state


def report_of(state: State, path: StateDir | None = None) -> AuditReport:
    directory = path or state.directory
    key = load_keys(directory.keys).audit_keys()
    check = partial(
        verify_audit, checkpoints_path=directory.checkpoints, keys=key, archive=directory.archive
    )
    return look_at(directory.database, check)


def in_archive(state: State, statement: str, *bindings: object) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(state.directory.archive))) as connection:
        return list(connection.execute(statement, bindings))


def test_the_chain_goes_through_the_archive_and_the_rest(archived: State) -> None:
    report = report_of(archived)
    assert (report.intact, report.rows, report.archived_rows) == (True, 25, 20), report.reason
    assert report.elsewhere_to_seq is msgspec.UNSET
    assert archived.directory.archive.stat().st_mode & 0o777 == 0o600
    # What tokens rest on is in both.
    assert rows(archived, "SELECT seq FROM audit WHERE seq <= 20") == [(1,), (2,)]
    assert in_archive(archived, "SELECT count(*), max(seq) FROM audit") == [(20, 20)]
    said = rows(archived, "SELECT effect_id, actor_id FROM audit WHERE action = 'audit.archive'")
    assert said == [(f"{seq}", "system:retention") for seq in (5, 10, 15, 20)]
    assert look_over(archived.directory).checked.head.seq == 25


def test_rows_are_moved_when_they_are_old_and_others_follow(state: State) -> None:
    with closing(open_control(state.directory)) as control:
        write(control, STEP - 2)
        assert copied(control) is None
        write(control, 1)
        last_ms = control.storage.read(
            lambda c: c.execute("SELECT max(at_ms) FROM audit WHERE seq <= ?", (STEP,)).get
        )
        assert copied(control, before_ms=last_ms) is None
        assert copied(control, before_ms=last_ms + 1) is not None


def test_without_the_archive_the_rest_is_checked_and_that_is_said(archived: State) -> None:
    archived.directory.archive.unlink()
    report = report_of(archived)
    assert (report.intact, report.rows, report.elsewhere_to_seq) == (True, 5, 20)
    code, *said = command("audit", "verify", "--state", str(archived.directory.root))
    assert code == 0
    assert "rows up to 20 are in no archive that is here" in "".join(said)
    fill(archived, 10)
    report = report_of(archived)
    assert (report.intact, report.archived_rows, report.elsewhere_to_seq) == (True, 15, 20)
    # A new archive that lacks its first row is no archive that was begun anew.
    in_archive(archived, "DELETE FROM audit WHERE seq = 21")
    assert report_of(archived).first_bad_seq == 21


def forged(state: State) -> None:
    with closing(apsw.Connection(str(state.directory.archive))) as connection:
        (row,) = each(connection, AuditEntry, "FROM audit WHERE seq = 9")
    row = msgspec.structs.replace(row, actor_id="forged")
    row_mac = row_hmac(b"another key of thirty-two bytes.", row)
    in_archive(state, "UPDATE audit SET actor_id = 'forged', hmac = ? WHERE seq = 9", row_mac)


def swapped(state: State) -> None:
    for change in "seq = -1 WHERE seq = 8", "seq = 8 WHERE seq = 9", "seq = 9 WHERE seq = -1":
        in_archive(state, f"UPDATE audit SET {change}")


def put_back(state: State) -> None:
    """A row that was moved, and is as it was written, is among those that stayed."""
    with closing(apsw.Connection(str(state.directory.database))) as connection:
        connection.execute("ATTACH ? AS a", (str(state.directory.archive),))
        connection.execute("INSERT INTO audit SELECT * FROM a.audit WHERE seq = 7")


TAMPERED: dict[str, tuple[Tamper, int | None]] = {
    "an actor edited": (
        lambda s: in_archive(s, "UPDATE audit SET actor_id = 'x' WHERE seq = 7"),
        7,
    ),
    "a detail edited": (lambda s: in_archive(s, "UPDATE audit SET detail = '{}' WHERE seq = 4"), 4),
    "a row removed": (lambda s: in_archive(s, "DELETE FROM audit WHERE seq = 6"), 6),
    "the first row removed": (lambda s: in_archive(s, "DELETE FROM audit WHERE seq = 1"), 1),
    "cut off at the end": (lambda s: in_archive(s, "DELETE FROM audit WHERE seq > 17"), 18),
    "the last row removed": (lambda s: in_archive(s, "DELETE FROM audit WHERE seq = 20"), 20),
    "two rows swapped": (swapped, 8),
    "a row forged": (forged, 9),
    "a row that stayed edited": (
        lambda s: rows(s, "UPDATE audit SET actor_id = 'x' WHERE seq = 1"),
        1,
    ),
    "a row that stayed removed": (lambda s: rows(s, "DELETE FROM audit WHERE seq = 2"), None),
    "a row put back": (put_back, None),
    "the next row removed": (lambda s: rows(s, "DELETE FROM audit WHERE seq = 21"), 21),
    "more said to be archived": (
        lambda s: rows(
            s, "UPDATE audit SET detail = json_set(detail, '$.to_seq', 19) WHERE seq = 25"
        ),
        25,
    ),
    "not said to be archived": (
        lambda s: rows(s, "DELETE FROM audit WHERE effect_table = 'audit'"),
        3,
    ),
    "no database": (lambda s: s.directory.archive.write_bytes(b"x" * 4096), None),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_noticed_and_named(name: str, archived: State) -> None:
    tamper, first_bad_seq = TAMPERED[name]
    tamper(archived)
    report = report_of(archived)
    assert not report.intact
    assert report.first_bad_seq == first_bad_seq, report.reason
    assert command("doctor", "--state", str(archived.directory.root))[0] == 78


@pytest.mark.parametrize(
    "name",
    [
        "a row that stayed removed",
        "a row put back",
        "more said to be archived",
        "not said to be archived",
    ],
)
def test_a_start_notices_what_is_wrong_with_what_stayed(name: str, archived: State) -> None:
    TAMPERED[name][0](archived)
    with pytest.raises(StartRefused):
        look_over(archived.directory)


def test_a_checkpoint_of_an_archived_row_is_compared(archived: State) -> None:
    from service.audit.checkpoints import Checkpoint, checkpoint_mac

    key = load_keys(archived.directory.keys).audit_keys()
    for seq in 10, 20:
        copy = StateDir(archived.directory.root.with_name(f"copy {seq}"))
        shutil.copytree(archived.directory.root, copy.root)
        other = Checkpoint(seq, "ab" * 32, checkpoint_mac(key.now, seq, "ab" * 32))
        with copy.checkpoints.open("ab") as file:
            file.write(msgspec.json.encode(other) + b"\n")
        report = report_of(archived, copy)
        assert (report.intact, report.first_bad_seq) == (False, seq)


def test_a_kill_between_copy_and_deletion_leaves_rows_twice_and_no_damage(state: State) -> None:
    with closing(open_control(state.directory)) as control:
        write(control, 8)
        first = copied(control)
    assert report_of(state).intact
    in_archive(state, "UPDATE audit SET actor_id = 'x' WHERE seq = 4")
    with closing(open_control(state.directory)) as control:
        assert copied(control) == first
        assert archive_all(control) == 2
    report = report_of(state)
    assert (report.intact, report.archived_rows) == (True, 10), report.reason


def test_a_log_that_is_damaged_is_not_archived(state: State) -> None:
    with closing(open_control(state.directory)) as control:
        write(control, 8)
        rows(state, "UPDATE audit SET actor_id = 'x' WHERE seq = 4")
        with pytest.raises(archive.Lost):
            copied(control)
        assert not state.directory.archive.exists()
        rows(state, "UPDATE audit SET actor_id = 'system:test' WHERE seq = 4")


def test_what_tells_of_something_that_is_there_stays_until_it_goes(state: State) -> None:
    def make(connection: apsw.Connection) -> Effect[None]:
        connection.execute(
            "INSERT INTO tasks (id, kind, payload, status, created_at_ms, updated_at_ms, created_by, request_id)"
            " VALUES ('t', 'k', '{}', 'queued', 1, 1, 'a', 'req_t')"
        )
        return Effect(None, "tasks", "t")

    def policy(decision: str) -> Callable[[apsw.Connection], Effect[None]]:
        def run(connection: apsw.Connection) -> Effect[None]:
            connection.execute(
                "UPDATE policies SET decision = ?, request_id = ? WHERE name = 'safe_read'",
                (decision, f"req_{decision}"),
            )
            return Effect(None, "policies", "safe_read")

        return run

    with closing(open_control(state.directory)) as control:
        control.storage.change_now(system_cause("test", "make", "req_t"), make)
        for decision in "deny", "confirm":
            cause = system_cause("test", "set", f"req_{decision}")
            control.storage.change_now(cause, policy(decision))
        write(control, 5)
        assert archive_all(control) == 2
        kept = "SELECT action FROM audit WHERE seq <= 10 ORDER BY seq"
        assert rows(state, kept)[2:] == [("make",), ("set",)]
        assert report_of(state).intact
        rows(state, "DELETE FROM tasks")
        write(control, 5)
        archive_all(control)
        assert ("make",) not in rows(state, kept)
    assert report_of(state).intact


RENEWED = "arar", "rra"
"""What is done to a state, in order: its log is written to and archived (a), its keys are renewed (r)."""
LOG = "SELECT seq, hmac FROM audit"


def renewed_or_archived(state: State, steps: str) -> None:
    for step in steps:
        if step == "a":
            fill(state, 9)
        else:
            renew_keys(state.directory)


@pytest.mark.parametrize("steps", RENEWED)
def test_one_chain_goes_through_the_archive_and_all_keys(steps: str, state: State) -> None:
    written: set[tuple[object, ...]] = set()
    for step in steps:
        renewed_or_archived(state, step)
        report = report_of(state)
        assert report.intact, report.reason
        assert [(report.rows,)] == rows(state, "SELECT max(seq) FROM audit")
        for words in ("audit", "verify"), ("doctor",):
            code, *said = command(*words, "--state", str(state.directory.root))
            assert (code, "in no archive" in "".join(said)) == (0, False)
        written.update(rows(state, LOG))
    assert written <= {*rows(state, LOG), *in_archive(state, LOG)}
    keys = load_keys(state.directory.keys)
    told = "SELECT seq - 1 FROM audit WHERE action = 'keys.rotate'"
    found = {*rows(state, told), *in_archive(state, told)}
    assert found == {(each.to_seq,) for each in keys.earlier_audit_keys}
    assert len(found) == steps.count("r")


@pytest.mark.parametrize("steps", RENEWED)
def test_what_is_changed_is_noticed_whichever_key_has_written_it(steps: str, state: State) -> None:
    renewed_or_archived(state, steps)
    edit = "UPDATE audit SET actor_id = actor_id || '!' WHERE seq = ?"
    mend = "UPDATE audit SET actor_id = rtrim(actor_id, '!') WHERE seq = ?"
    for change, every in (in_archive, 3), (rows, 2):
        for seq, _ in change(state, LOG)[::every]:
            change(state, edit, seq)
            report = report_of(state)
            assert (report.intact, report.first_bad_seq) == (False, seq), report.reason
            change(state, mend, seq)
    assert report_of(state).intact
    written_anew_with_the_first_key(state)
    assert not report_of(state).intact
    for words in ("audit", "verify"), ("doctor",):
        assert command(*words, "--state", str(state.directory.root))[0] != 0


def written_anew_with_the_first_key(state: State) -> None:
    """What of the archive the first key has written, but for its first row, is another's, in a chain of its own."""
    ended = load_keys(state.directory.keys).earlier_audit_keys[0]
    following = "FROM audit WHERE seq > 1 AND seq <= ? ORDER BY seq"
    with closing(apsw.Connection(str(state.directory.archive))) as connection:
        written = list(each(connection, AuditEntry, following, (ended.to_seq,)))
        previous = written[0].prev_hmac
        for row in written:
            new = msgspec.structs.replace(row, actor_id="another", prev_hmac=previous)
            previous = row_hmac(bytes.fromhex(ended.key), new)
            connection.execute(
                "UPDATE audit SET actor_id = 'another', prev_hmac = ?, hmac = ? WHERE seq = ?",
                (new.prev_hmac, previous, new.seq),
            )


def backup(state: State) -> StateDir:
    file = state.directory.root.with_name("backup.db")
    look_at(state.directory.database, lambda connection: copy_database(connection, file))
    return StateDir(file)


@pytest.mark.parametrize("archived_before", [0, 9])
def test_a_backup_older_than_the_archive_goes_on_with_the_same_numbers(
    state: State, archived_before: int
) -> None:
    if archived_before:
        fill(state, archived_before)
    file = backup(state).root
    fill(state, 30)
    lost = rows(state, "SELECT max(seq) FROM audit")
    replace_database(state.directory, file)
    assert report_of(state).intact
    fill(state, 30)
    report = report_of(state)
    assert report.intact, report.reason
    assert report.elsewhere_to_seq is msgspec.UNSET
    assert rows(state, "SELECT max(seq) FROM audit") > lost
    # Rows of both lines are there under one number.
    twice = in_archive(state, "SELECT seq FROM audit GROUP BY seq HAVING count(*) > 1")
    assert twice
    in_archive(state, "DELETE FROM audit WHERE seq = 2")
    assert report_of(state).first_bad_seq == 2
    look_over(state.directory)


def test_the_release_before_gets_the_whole_log_back(archived: State) -> None:
    whole = in_archive(archived, "SELECT * FROM audit ORDER BY seq")
    migrate_down(archived.directory, archive.SINCE - 1, None)
    assert rows(archived, "SELECT * FROM audit WHERE seq <= 20 ORDER BY seq") == whole
    assert rows(archived, "SELECT count(*) = max(seq) FROM audit") == [(1,)]
    archived.directory.archive.rename(archived.directory.root / "away")
    fill(archived, 5)
    report = report_of(archived)
    assert report.intact, report.reason


def test_without_its_archive_a_log_is_not_given_to_the_release_before(archived: State) -> None:
    archived.directory.archive.unlink()
    with pytest.raises(SoniaError, match="up to 20 are in its archive"):
        migrate_down(archived.directory, archive.SINCE - 1, None)
    assert report_of(archived).intact
    look_over(archived.directory)


def test_somebody_else_cannot_have_archived_meanwhile(archived: State) -> None:
    with closing(open_control(archived.directory)) as control:
        write(control, 10)
        step = copied(control)
        assert step is not None
        stale = msgspec.structs.replace(step, before=Archived())
        key = control.keys.audit_keys()
        cause = system_cause("test", "audit.archive", "req_3")
        with pytest.raises(SoniaError):
            control.storage.change_now(cause, partial(delete_step, step=stale, keys=key))
    assert report_of(archived).intact

"""Every way of changing the audit log behind SONIA's back is noticed and named."""

from collections.abc import Callable
from contextlib import closing

import apsw
import pytest

from service.audit.verify import AuditReport, verify_audit
from service.control import open_control
from service.effects import Effect, system_cause
from service.errors import Conflict
from service.keys import load_keys
from service.settings import StorageSettings
from service.storage.database import open_reader
from tests.service.running import State, alter, rows, sonia

WRITTEN = 10
Tamper = Callable[[State], None]


@pytest.fixture
def logged(state: State) -> State:
    """A stopped state whose audit log holds the two rows of its birth and WRITTEN more."""
    control = open_control(state.directory)
    for number in range(WRITTEN):
        cause = system_cause("test", f"act.{number}", f"req_{number}")
        control.storage.change_now(cause, lambda _: Effect(None, "things", "1", {"a": [1, None]}))
    control.close()
    return state


def report_of(state: State) -> AuditReport:
    connection = open_reader(state.directory.database, StorageSettings())
    try:
        key = load_keys(state.directory.keys).audit_keys()
        return verify_audit(connection, state.directory.checkpoints, key)
    finally:
        connection.close()


def swap(state: State) -> None:
    alter(state, "UPDATE audit SET seq = -1 WHERE seq = 5")
    alter(state, "UPDATE audit SET seq = 5 WHERE seq = 6")
    alter(state, "UPDATE audit SET seq = 6 WHERE seq = -1")


def renumber(state: State) -> None:
    alter(state, "DELETE FROM audit WHERE seq = 6")
    alter(state, "UPDATE audit SET seq = -seq WHERE seq > 6")
    alter(state, "UPDATE audit SET seq = -seq - 1 WHERE seq < 0")


def spoil_checkpoints(state: State) -> None:
    state.directory.checkpoints.write_text("x\n")


def without_rows_and_checkpoints(state: State) -> None:
    alter(state, "DELETE FROM audit WHERE seq > 6")
    state.directory.checkpoints.unlink()


def other_checkpoint(state: State) -> None:
    text = state.directory.checkpoints.read_text()
    line = text.splitlines()[-1]
    state.directory.checkpoints.write_text(text.replace(line, line.replace('"seq":12', '"seq":11')))


TAMPERED: dict[str, tuple[Tamper, int | None]] = {
    "an actor edited": (lambda s: alter(s, "UPDATE audit SET actor_id = 'x' WHERE seq = 7"), 7),
    "an outcome edited": (lambda s: alter(s, "UPDATE audit SET outcome='denied' WHERE seq=3"), 3),
    "a detail edited": (lambda s: alter(s, "UPDATE audit SET detail = '{}' WHERE seq = 4"), 4),
    "a time edited": (lambda s: alter(s, "UPDATE audit SET at_ms = at_ms+1 WHERE seq = 9"), 9),
    "an hmac edited": (lambda s: alter(s, "UPDATE audit SET hmac=prev_hmac WHERE seq = 8"), 8),
    "an effect removed": (
        lambda s: alter(s, "UPDATE audit SET effect_table=NULL, effect_id=NULL WHERE seq = 8"),
        8,
    ),
    "a row removed": (lambda s: alter(s, "DELETE FROM audit WHERE seq = 6"), 6),
    "the first row removed": (lambda s: alter(s, "DELETE FROM audit WHERE seq = 1"), 1),
    "two rows swapped": (swap, 5),
    "a row removed, the rest renumbered": (
        renumber,
        6,
    ),
    "cut off at the end": (lambda s: alter(s, "DELETE FROM audit WHERE seq > 6"), 7),
    "emptied": (lambda s: alter(s, "DELETE FROM audit"), 1),
    "cut off, with the checkpoints": (without_rows_and_checkpoints, 6),
    "a checkpoint edited": (other_checkpoint, 11),
    "a checkpoint unreadable": (spoil_checkpoints, None),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_noticed_and_named(name: str, logged: State) -> None:
    assert report_of(logged).intact
    tamper, first_bad_seq = TAMPERED[name]
    tamper(logged)
    report = report_of(logged)
    assert not report.intact
    assert report.first_bad_seq == first_bad_seq, report.reason


def test_restamping_with_another_key_is_noticed(logged: State) -> None:
    """Whoever can write the whole chain anew, but without the key, is found out at the first row."""
    import msgspec

    from service.audit.chain import GENESIS, AuditEntry, row_hmac
    from service.query import select

    previous = GENESIS
    with closing(apsw.Connection(str(logged.directory.database))) as connection:
        entries = select(connection, AuditEntry, "FROM audit ORDER BY seq")
    for entry in entries:
        row = msgspec.structs.replace(entry, actor_id="forged", prev_hmac=previous)
        previous = row_hmac(b"another key of thirty-two bytes.", row)
        alter(
            logged,
            "UPDATE audit SET actor_id = 'forged', prev_hmac = ?, hmac = ? WHERE seq = ?",
            row.prev_hmac,
            previous,
            row.seq,
        )
    report = report_of(logged)
    assert not report.intact
    assert report.first_bad_seq == 1


def test_a_failed_operation_leaves_the_chain_where_it_was(state: State) -> None:
    control = open_control(state.directory)
    cause = system_cause("test", "act", "req_1")

    def fails(connection: apsw.Connection) -> Effect[None]:
        connection.execute("DELETE FROM policies")
        raise Conflict("no")

    with pytest.raises(Conflict):
        control.storage.change_now(cause, fails)
    control.storage.change_now(cause, lambda _: Effect(None, "things", "1"))
    control.close()
    assert report_of(state).rows == 3
    assert report_of(state).intact
    assert rows(state, "SELECT count(*) FROM policies") == [(4,)]


def test_a_line_cut_off_by_a_crash_is_no_tampering(logged: State) -> None:
    with logged.directory.checkpoints.open("ab") as file:
        file.write(b'{"seq":1')
    assert report_of(logged).intact
    control = open_control(logged.directory)
    control.storage.change_now(
        system_cause("test", "act", "req"), lambda _: Effect(None, "things", "1")
    )
    control.close()
    assert report_of(logged).intact


def test_the_command_names_the_first_bad_row(logged: State) -> None:
    assert sonia(logged, "audit", "verify").returncode == 0
    alter(logged, "UPDATE audit SET actor_id = 'x' WHERE seq = 7")
    told = sonia(logged, "audit", "verify")
    assert told.returncode == 1
    assert "row 7" in told.stderr
    as_json = sonia(logged, "audit", "verify", "--json")
    assert as_json.returncode == 1
    assert '"first_bad_seq":7' in as_json.stdout

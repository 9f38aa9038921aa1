"""Keys are renewed: the log is checked over all of its keys, and by none longer than it was in force."""

import json
import shutil
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from service.audit.chain import AuditEntry, Chain, read_head, row_hmac
from service.audit.checkpoints import Checkpoint, CheckpointWriter, checkpoint_mac
from service.audit.verify import AuditReport, verify_audit
from service.control import open_control
from service.effects import Effect, system_cause
from service.errors import StartRefused
from service.keys import AuditKeys, load_keys, load_link
from service.migrating import migrate_down
from service.processes import BEHIND
from service.query import select_one
from service.renewing import renew_keys
from service.settings import StorageSettings
from service.state import StateDir
from service.storage.database import look_at, open_database
from tests.service.conformance.conversation import command
from tests.service.running import State, rows
from tests.service.test_files import is_killed

TOLD = (
    "SELECT seq, action, effect_id, detail ->> '$.to_seq' FROM audit WHERE action = 'keys.rotate'"
)


def verified(state: State) -> AuditReport:
    directory = state.directory
    keys = load_keys(directory.keys).audit_keys()
    return look_at(
        directory.database,
        lambda connection: verify_audit(connection, directory.checkpoints, keys, directory.archive),
    )


def write(state: State) -> None:
    """A row of the log, by whoever opens the state."""
    with closing(open_control(state.directory)) as control:
        cause = system_cause("test", "test.write", "req_1")
        control.storage.change_now(cause, lambda _: Effect(None, "test", "1"))


def append_with(state: State, key: bytes) -> None:
    """A row that follows the log's end, and its checkpoint, written with `key`."""
    with closing(open_database(state.directory.database, StorageSettings())) as connection:
        chain = Chain(key, read_head(connection))
        chain.append(connection, 1, system_cause("test", "forged", "req_1"), None, {})


def test_a_log_of_several_keys_is_intact_and_all_keys_are_new(state: State) -> None:
    before, links = load_keys(state.directory.keys), links_of(state)
    for _ in range(2):
        write(state)
        code, said, errors = command("keys", "rotate", "--state", str(state.directory.root))
        assert (code, errors) == (0, "")
        write(state)
    assert "earlier ones" in said
    now = load_keys(state.directory.keys)
    assert len({before.audit_key, now.audit_key, *(it.key for it in now.earlier_audit_keys)}) == 3
    assert now.earlier_audit_keys[0].key == before.audit_key
    assert now.tokens == before.tokens
    assert all(old != new for old, new in zip(links, links_of(state), strict=True))
    told = rows(state, TOLD)
    assert [seq for seq, *_ in told] == [it.to_seq + 1 for it in now.earlier_audit_keys]
    assert [to_seq for *_, to_seq in told] == [it.to_seq for it in now.earlier_audit_keys]
    assert verified(state).intact
    for told_by in (("audit", "verify"), ("doctor",)):
        assert command(*told_by, "--state", str(state.directory.root))[0] == 0
    assert migrate_down(state.directory, 3, None)[0].schema == 3
    assert verified(state).intact


def links_of(state: State) -> list[object]:
    return [load_link(state.directory.link(each.name), each.name) for each in BEHIND]


def test_a_backup_of_before_is_restored_and_goes_on_with_the_new_key(
    state: State, tmp_path: Path
) -> None:
    backup, root = tmp_path / "b.db", str(state.directory.root)
    assert command("backup", str(backup), "--state", root)[0] == 0
    for _ in range(3):
        write(state)
    renew_keys(state.directory)
    assert command("restore", str(backup), "--state", root)[0] == 0
    write(state)
    assert verified(state).intact
    # What has ended is no key of this line, although this row has a number that the key once could have.
    head = rows(state, "SELECT max(seq) FROM audit")[0][0]
    earlier = load_keys(state.directory.keys).earlier_audit_keys[-1]
    assert head < earlier.to_seq
    append_with(state, bytes.fromhex(earlier.key))
    assert (
        verified(state).reason == "the row was written with an earlier key than the row before it"
    )


def test_a_log_that_comes_by_where_a_key_ended_tells_of_no_other_renewal(
    state: State, tmp_path: Path
) -> None:
    file, root = str(tmp_path / "b.db"), str(state.directory.root)
    assert command("backup", file, "--state", root)[0] == 0
    for _ in range(6):
        write(state)
    renew_keys(state.directory)
    assert command("restore", file, "--state", root)[0] == 0
    ended_at = load_keys(state.directory.keys).earlier_audit_keys[-1].to_seq
    while rows(state, "SELECT max(seq) FROM audit") < [(ended_at + 1,)]:
        write(state)
    assert rows(state, TOLD) == []
    assert verified(state).intact


def test_an_ended_key_writes_nothing_more(state: State) -> None:
    ended = load_keys(state.directory.keys).audit_key_bytes()
    renew_keys(state.directory)
    append_with(state, ended)
    report = verified(state)
    assert not report.intact
    assert report.first_bad_seq == rows(state, "SELECT max(seq) FROM audit")[0][0]
    with pytest.raises(StartRefused, match="tampered with"):
        open_control(state.directory)


def test_what_an_ended_key_changes_among_old_rows_leads_nowhere(state: State) -> None:
    ended = load_keys(state.directory.keys).audit_key_bytes()
    write(state)
    renew_keys(state.directory)
    keys = load_keys(state.directory.keys)
    seq = keys.earlier_audit_keys[-1].to_seq
    with closing(open_database(state.directory.database, StorageSettings())) as connection:
        row = select_one(connection, AuditEntry, "FROM audit WHERE seq = ?", (seq,))
        assert row is not None
        forged = msgspec.structs.replace(row, actor_id="another")
        connection.execute(
            "UPDATE audit SET actor_id = 'another', hmac = ? WHERE seq = ?",
            (row_hmac(ended, forged), seq),
        )
    path = state.directory.checkpoints
    mac = checkpoint_mac(ended, seq, row_hmac(ended, forged))
    pinned = msgspec.json.encode(Checkpoint(seq, row_hmac(ended, forged), mac))
    lines = path.read_bytes().splitlines()
    (place,) = (n for n, line in enumerate(lines) if json.loads(line)["seq"] == seq)
    lines[place] = pinned
    path.write_bytes(b"\n".join([*lines, b""]))
    report = verified(state)
    assert (report.first_bad_seq, report.reason) == (
        seq + 1,
        "the row does not follow the one before it",
    )


def test_a_checkpoint_of_an_ended_key_is_none_after_its_end(state: State) -> None:
    ended = load_keys(state.directory.keys).audit_key_bytes()
    renew_keys(state.directory)
    write(state)
    head = look_at(state.directory.database, read_head)
    state.directory.checkpoints.unlink()
    CheckpointWriter(state.directory.checkpoints, ended, 1, 0).write(head)
    assert verified(state).reason == "a checkpoint was not written with this key"


def test_wherever_it_is_killed_it_is_undone_or_finished_by_the_next_start(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each of these files is put in place at once: tests/service/test_files.py.
    monkeypatch.setattr("service.renewing.write_links", lambda _: None)
    write(state)
    before = load_keys(state.directory.keys)
    outcomes = set()
    for change in range(1, 200):
        root = tmp_path / f"{change}"
        shutil.copytree(state.directory.root, root)
        one = msgspec.structs.replace(state, directory=StateDir(root))
        killed = is_killed(root, change, partial(renew_keys, one.directory))
        write(one)
        assert verified(one).intact
        now = load_keys(one.directory.keys)
        told = [to_seq for *_, to_seq in rows(one, TOLD)]
        assert told == [it.to_seq for it in now.earlier_audit_keys]
        outcomes.add(now == before)
        if not killed:
            break
    assert outcomes == {True, False}
    assert not killed


@pytest.mark.parametrize("held", [True, False])
def test_nobody_works_on_a_state_whose_keys_are_renewed(state: State, held: bool) -> None:
    root = str(state.directory.root)
    if held:
        with closing(open_control(state.directory)):
            code, _, errors = command("keys", "rotate", "--state", root)
        assert "other commands use its keys" in errors
    else:
        with state.directory.keys_held(alone=True):
            for words in (("token", "issue", "--role", "observer"), ("audit", "verify")):
                code, _, errors = command(*words, "--state", root)
                assert (code, "its keys are being renewed" in errors) == (78, True)
    assert code == 78
    assert command("keys", "rotate", "--state", root)[0] == 0


@pytest.mark.parametrize(
    "earlier",
    [
        '[{"key": "00", "to_seq": 1}]',
        f'[{{"key": "{"00" * 32}", "to_seq": 1}}]',
        '[{"key": "AUDIT", "to_seq": 1}]',
        '[{"key": "zz", "to_seq": 1}]',
        '[{"to_seq": 1}]',
        "7",
    ],
)
def test_earlier_keys_that_are_not_sound_are_refused(state: State, earlier: str) -> None:
    keys = state.directory.keys
    document = keys.read_text()
    audit_key = load_keys(keys).audit_key
    told = earlier.replace("AUDIT", audit_key)
    keys.write_text(document.rstrip().removesuffix("}") + f', "earlier_audit_keys": {told}}}')
    with pytest.raises(StartRefused, match=r"audit_key|cannot be parsed"):
        load_keys(keys)


def test_each_key_has_its_rows() -> None:
    keys = AuditKeys(b"c", ((b"a", 3), (b"b", 7)))
    assert [[key for _, key in keys.of(seq)] for seq in (3, 4, 8)] == [
        [b"a", b"b", b"c"],
        [b"b", b"c"],
        [b"c"],
    ]

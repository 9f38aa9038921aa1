"""Opening a state directory: what the gateway and the `sonia` commands have in common.

Every check stands in `look_over`, in order; whatever is not as it must be raises StartRefused.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from service.audit.chain import AuditEntry, Chain, Head, is_as_written
from service.audit.verify import AuditReport, verify_start
from service.auth.credentials import TokenRecord
from service.auth.epoch import EpochFile
from service.auth.registry import Registry, load_records
from service.clock import Clock, open_clock, read_mark, wall_ms
from service.effects import Effect, system_cause
from service.errors import StartRefused, StateDamaged, Unavailable, of_disk
from service.ids import random_id
from service.jsontypes import Json
from service.keys import AuditKeys, KeyMaterial, Link, fingerprint, load_keys, load_link
from service.processes import BEHIND
from service.query import select, select_one
from service.settings import Settings, load_settings
from service.state import StateDir
from service.storage import Storage
from service.storage.backup import copy_database
from service.storage.damage import check_kept, mark_made
from service.storage.database import check_integrity, immediately, look_at, open_database
from service.storage.migrations import MIGRATIONS, Migration, check_schema, migrate
from service.storage.store import Checked, audited
from service.trust import check_control

EXIT_FATAL = 70


class Control(msgspec.Struct, frozen=True):
    """An opened state directory. `storage` is started; close it with `close`."""

    state: StateDir
    settings: Settings
    keys: KeyMaterial
    links: Mapping[str, Link]
    clock: Clock
    storage: Storage
    registry: Registry
    epoch: EpochFile
    held: int | None

    def close(self) -> None:
        """Finish what is queued, close the database and put the clock's mark on disk."""
        self.storage.stop()
        self.clock.sync()
        self.state.unlock(self.held)


def die(reason: str) -> None:
    """End this process at once: after a disk error under COMMIT no further answer can be honest."""
    sys.stderr.write(f"fatal: {reason}\n")
    sys.stderr.flush()
    os._exit(EXIT_FATAL)


class Sound(msgspec.Struct, frozen=True):
    """What was found in a state directory that may be used. `now_ms` is the time that it stands at."""

    settings: Settings
    keys: KeyMaterial
    links: Mapping[str, Link]
    checked: Checked
    tokens: dict[str, TokenRecord]
    now_ms: int
    torn_checkpoint: str | None


def look_over(state: StateDir) -> Sound:
    """Check everything that a start rests on, and write nothing, so that what is refused stays as it was found.

    Raises StartRefused.
    """
    check_control(state)
    settings = load_settings(state.settings)
    mark_ms = read_mark(state.clock)
    keys = load_keys(state.keys)
    links = {each.name: load_link(state.link(each.name), each.name) for each in BEHIND}

    check_kept(state)

    def look(connection: apsw.Connection) -> Sound:
        check_integrity(connection)
        check_schema(connection)
        report, head = verify_start(connection, state.checkpoints, keys.audit_keys())
        if not report.intact:
            if _is_of_other_keys(connection, keys.audit_keys()):
                raise StartRefused(
                    "the audit log was not written with the keys in keys.json",
                    "put keys.json and control.db of one state in place",
                )
            raise StartRefused(
                _tampered(report), "keep a copy as it is; `sonia audit verify` says more"
            )
        return Sound(
            settings,
            keys,
            links,
            Checked(head, report.last_checkpoint_seq),
            load_records(connection),
            max(mark_ms, head.at_ms, wall_ms()),
            report.torn_checkpoint or None,
        )

    return look_at(state.database, look, settings.storage.busy_timeout_s)


def _is_of_other_keys(connection: apsw.Connection, keys: AuditKeys) -> bool:
    """Whether neither the first row of the log nor its last is as these keys would have written it: one of the files is another state's."""
    ends = "FROM audit WHERE seq IN (SELECT min(seq) FROM audit UNION SELECT max(seq) FROM audit)"
    try:
        rows = select(connection, AuditEntry, ends)
    except msgspec.DecodeError:
        return False
    return bool(rows) and not any(is_as_written(keys, row) for row in rows)


def _tampered(report: AuditReport) -> str:
    if report.first_bad_seq is None:
        return f"the audit log and the state do not agree: {report.reason}"
    return f"the audit log was tampered with at row {report.first_bad_seq}: {report.reason}"


def open_control(state: StateDir, fatal: Callable[[str], None] = die) -> Control:
    """Check and open `state`; until it is closed its keys are not renewed. Raises StartRefused."""
    held = state.hold_keys()
    try:
        return _opened(state, fatal, held)
    except BaseException:
        state.unlock(held)
        raise


def _opened(state: StateDir, fatal: Callable[[str], None], held: int | None) -> Control:
    sound = look_over(state)
    if sound.torn_checkpoint:
        sys.stderr.write(f"a checkpoint was cut off and is put aside: {sound.torn_checkpoint}\n")
    with refusing(state):
        clock = open_clock(state.clock)
        connection = open_database(state.database, sound.settings.storage)
        mark_made(state)
        clock.raise_to(sound.checked.head.at_ms)
        key = sound.keys.audit_key_bytes()
        checked = msgspec.structs.replace(
            sound.checked,
            head=finish_renewal(connection, clock, Chain(key, sound.checked.head), sound.keys),
        )
        if check_schema(connection) < MIGRATIONS[-1].version:
            backed_up(connection, state, clock.now_ms())
            checked = Checked(
                _migrated(connection, clock, Chain(key, checked.head)), checked.last_seq
            )
        storage = Storage(
            connection,
            state,
            sound.settings,
            clock,
            key,
            checked,
            fatal,
        )
        epoch = EpochFile(state.token_epoch)
        storage.start()
        registry = Registry(epoch, lambda: storage.read(load_records))
        return Control(
            state, sound.settings, sound.keys, sound.links, clock, storage, registry, epoch, held
        )


def backed_up(connection: apsw.Connection, state: StateDir, now_ms: int) -> Path:
    """Copy the database as it is before its schema is changed; return the copy. Raises StartRefused, OSError, apsw.Error."""
    state.backups.mkdir(mode=0o700, exist_ok=True)
    backup = state.backups / f"schema-{connection.pragma('user_version')}-{now_ms}.db"
    copy_database(connection, backup)
    return backup


def _migrated(connection: apsw.Connection, clock: Clock, chain: Chain) -> Head:
    """Bring the schema to the newest, each step with its audit row; return the new end of the log."""
    cause = system_cause("migrate", "database.migrate", random_id("boot"))

    def done(step: Migration) -> None:
        effect = Effect(None, "migrations", str(step.version), {"to": step.version})
        audited(connection, chain, clock.now_ms(), cause, effect)

    chain.follow(connection)
    migrate(connection, clock.now_ms(), done=done)
    return chain.head


def tell_of_keys(connection: apsw.Connection, chain: Chain, keys: KeyMaterial, now_ms: int) -> None:
    """Write the row that the audit log's key was renewed, as the first one that is written with it, if it is not there yet."""
    if not _untold(connection, keys, chain.head):
        return
    ended = keys.earlier_audit_keys[-1]
    detail: dict[str, Json] = {"to_seq": ended.to_seq, "before": fingerprint(ended.key)}
    effect = Effect(None, "keys", fingerprint(keys.audit_key), detail)
    audited(
        connection, chain, now_ms, system_cause("keys", "keys.rotate", random_id("cli")), effect
    )


def _untold(connection: apsw.Connection, keys: KeyMaterial, head: Head) -> bool:
    """Whether the log ends where the earlier key does: with its row, not with one that follows an older backup."""
    if not keys.earlier_audit_keys or keys.earlier_audit_keys[-1].to_seq != head.seq:
        return False
    row = select_one(connection, AuditEntry, "FROM audit WHERE seq = ?", (head.seq,))
    return row is not None and not is_as_written(AuditKeys(keys.audit_key_bytes()), row)


def finish_renewal(
    connection: apsw.Connection, clock: Clock, chain: Chain, keys: KeyMaterial
) -> Head:
    """Finish a renewal of the keys that was cut short; return the end of the log."""
    if _untold(connection, keys, chain.head):
        with immediately(connection):
            chain.follow(connection)
            tell_of_keys(connection, chain, keys, clock.now_ms())
    return chain.head


@contextmanager
def refusing(state: StateDir) -> Iterator[None]:
    """Make a refusal of whatever else goes wrong while a state directory is opened: no disk space, no rights."""
    try:
        yield
    except (OSError, apsw.Error, StateDamaged, Unavailable) as wrong:
        raise StartRefused(f"{state.root} cannot be used: {wrong}", of_disk(wrong)) from wrong

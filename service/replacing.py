"""Putting a backup in the place of the control database, whatever became of that."""

from contextlib import closing
from pathlib import Path

import apsw
import msgspec

from service.audit.chain import Chain, Head
from service.audit.checkpoints import CheckpointWriter, read_checkpoints
from service.audit.verify import verify_copy
from service.clock import create_clock, open_clock, read_mark, wall_ms
from service.control import refusing, tell_of_keys
from service.effects import Effect, system_cause
from service.errors import SoniaError, StartRefused, StateDamaged
from service.files import remove_database, sync_directory
from service.ids import random_id
from service.keys import AuditKeys, load_keys
from service.reviving import Settled, Tokens, look_back, settle
from service.state import StateDir
from service.storage.backup import copy_database
from service.storage.damage import (
    finish_putting_aside,
    mark_made,
    newest,
    next_place,
    put_aside,
)
from service.storage.database import check_integrity, look_at
from service.storage.migrations import check_schema
from service.storage.store import audited
from service.trust import check_process


class Replaced(msgspec.Struct, frozen=True):
    """What a backup took the place of.

    The restored audit log ends at `last_seq`; rows up to `known_seq` had been written and checkpointed, and those in
    between are lost, unless what was put aside into `quarantine` still has them.
    """

    last_seq: int
    known_seq: int
    quarantine: str | None
    settled: Settled


def replace_database(state: StateDir, backup: Path, tokens: Tokens | None = None) -> Replaced:
    """Check a backup, put aside what is there, and put the backup in its place, with an audit row that says so.

    Whoever calls it has the gateway's lock. Nothing is changed unless the backup is sound: written with this state's keys,
    of this release or an earlier one. The log goes on from its end, with checkpoints of its own. A kill at any moment
    leaves the old database, none, or the new one, which tells of it and in which nothing works that had ended; then it can be
    done again. `tokens` says what becomes of the backup's where nobody knows which of them have ended since. Raises SoniaError.
    """
    check_process(state)
    material = load_keys(state.keys)
    keys = material.audit_keys()
    try:
        head = look_at(backup, lambda connection: _copy(connection, keys, state))
    except (StartRefused, OSError, apsw.Error) as wrong:
        raise SoniaError(f"{backup} cannot be restored: {wrong}") from wrong
    now_ms = _now_ms(state)
    finish_putting_aside(state, now_ms)
    chain = Chain(keys.now, head)
    present = look_back(state, keys)
    known_seq = max(_known_seq(state), present.head.seq if present else 0)
    place = next_place(state, now_ms)
    at_ms = max(now_ms, head.at_ms)
    with refusing(state):
        try:
            with closing(apsw.Connection(str(_copied(state)))) as connection, connection:
                tell_of_keys(connection, chain, material, at_ms)
                settled = settle(connection, chain, present, tokens, at_ms)
                replaced = Replaced(head.seq, known_seq, place.name, settled)
                cause = system_cause("restore", "database.restore", random_id("cli"), backup.name)
                effect = Effect(None, "database", "control", msgspec.to_builtins(replaced))
                audited(connection, chain, at_ms, cause, effect)
        except BaseException:
            remove_database(_copied(state))
            raise
        _go_on_from(state, at_ms)
        _copied(state).rename(state.restored)
        sync_directory(state.root)
        put_aside(state, now_ms)
        CheckpointWriter(state.checkpoints, keys.now, 1, 0).write(chain.head)
        state.restored.rename(state.database)
        sync_directory(state.root)
        mark_made(state)
    return replaced


def readmit(state: StateDir) -> Replaced:
    """Put the database that was put aside last back in its place, because it is sound after all. Raises SoniaError."""
    finish_putting_aside(state, _now_ms(state))
    place = newest(state)
    if place is None:
        raise SoniaError("no database was put aside")
    return replace_database(state, place / state.database.name)


def _copied(state: StateDir) -> Path:
    return state.root / "control.db.copied"


def _copy(connection: apsw.Connection, keys: AuditKeys, state: StateDir) -> Head:
    check_integrity(connection)
    if check_schema(connection) == 0:
        raise StartRefused("it is no control database", "name another file")
    report, head = verify_copy(connection, keys)
    if not report.intact:
        raise StartRefused(
            f"its audit log is not one of this state: {report.reason}", "name another file"
        )
    remove_database(_copied(state))
    copy_database(connection, _copied(state))
    return head


def _mark_ms(state: StateDir) -> int | None:
    """The state's time at least; None where that was lost as well, which then begins with the machine's."""
    try:
        return read_mark(state.clock)
    except StartRefused:
        return None


def _now_ms(state: StateDir) -> int:
    return max(_mark_ms(state) or 0, wall_ms())


def _go_on_from(state: StateDir, at_ms: int) -> None:
    clock = (create_clock if _mark_ms(state) is None else open_clock)(state.clock)
    clock.raise_to(at_ms)
    clock.sync()


def _known_seq(state: StateDir) -> int:
    try:
        return read_checkpoints(state.checkpoints).last_seq
    except StateDamaged:
        return 0

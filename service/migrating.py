"""Moving a state directory between schemas: a backup first, then each step in a transaction of its own."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import msgspec

from service.audit import archive
from service.audit.chain import Chain
from service.audit.checkpoints import CheckpointWriter
from service.clock import open_clock
from service.control import backed_up, look_over, refusing
from service.effects import Effect, system_cause
from service.errors import SoniaError
from service.files import sync_directory
from service.ids import random_id
from service.jsontypes import Json
from service.state import StateDir
from service.storage.database import look_at, open_database
from service.storage.migrations import MIGRATIONS, Migration, check_schema, lost_by, take_back
from service.storage.store import audited

_Write = Callable[[apsw.Connection, Migration], "Counter[str]"]


class Schema(msgspec.Struct, frozen=True):
    """Which schema a database has, and which the release brings it to at its next start."""

    schema: int
    newest: int


def schema_of(state: StateDir) -> Schema:
    """Tell it, and write nothing. Raises StartRefused."""
    return Schema(look_at(state.database, check_schema), MIGRATIONS[-1].version)


def migrate_down(state: StateDir, to: int, export: Path | None) -> tuple[Schema, Path | None]:
    """Take the schema back to `to` for an earlier release; return what it has now, and the backup made before.

    Where it is back already, as after a kill at the very end, nothing is done and there is no backup. What a step would
    lose is written to the new file `export` before the step is taken. Whoever calls it has the gateway's lock.
    Raises StartRefused, and SoniaError when something would be lost and there is no `export`, or when the audit log's
    archive is needed and is not there; then nothing was changed by that step.
    """
    sound = look_over(state)
    with refusing(state):
        clock = open_clock(state.clock)
        clock.raise_to(sound.checked.head.at_ms)
        with closing(open_database(state.database, sound.settings.storage)) as connection:
            if not 0 <= to <= (last := check_schema(connection)):
                raise SoniaError(f"schema {to} is no earlier one")
            if to == last:
                return schema_of(state), None
            steps = MIGRATIONS[to:last]
            if export is None:
                _check_loss(connection, steps)
            backup = backed_up(connection, state, clock.now_ms())
            key = sound.keys.audit_key_bytes()
            chain = Chain(key, sound.checked.head)
            chain.follow(connection)
            with _exporting(export) as write:

                def done(step: Migration) -> None:
                    lost = write(connection, step)
                    if step.version == archive.SINCE:
                        _bring_back(connection, chain, state.archive, key, clock.now_ms())
                    cause = system_cause("migrate", "database.migrate", random_id("cli"))
                    detail: dict[str, Json] = {"to": step.version - 1, "exported": dict(lost)}
                    effect = Effect(None, "migrations", str(step.version), detail)
                    audited(connection, chain, clock.now_ms(), cause, effect)

                take_back(connection, to, done)
            CheckpointWriter(state.checkpoints, key, 1, sound.checked.last_seq).write(chain.head)
        clock.sync()
    return schema_of(state), backup


def _bring_back(
    connection: apsw.Connection, chain: Chain, path: Path, key: bytes, now_ms: int
) -> None:
    effect = archive.bring_back(connection, path, key)
    if effect is not None:
        cause = system_cause("migrate", "audit.unarchive", random_id("cli"))
        audited(connection, chain, now_ms, cause, effect)


def _check_loss(connection: apsw.Connection, steps: tuple[Migration, ...]) -> None:
    lost = Counter(table for step in steps for table, _ in lost_by(connection, step))
    if lost:
        told = ", ".join(f"{count} of {table}" for table, count in sorted(lost.items()))
        raise SoniaError(f"rows would lose something: {told}; `--export FILE` keeps it")


@contextmanager
def _exporting(export: Path | None) -> Iterator[_Write]:
    if export is None:
        yield lambda _connection, _step: Counter()
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(export, flags, 0o600)
    except OSError as wrong:
        raise SoniaError(f"{export} cannot be written: {wrong.strerror}") from wrong
    with os.fdopen(descriptor, "wb") as file:

        def write(connection: apsw.Connection, step: Migration) -> Counter[str]:
            lost: Counter[str] = Counter()
            for table, row in lost_by(connection, step):
                lost[table] += 1
                line = {"schema": step.version, "table": table, "row": row}
                file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            sync_directory(export.parent)
            return lost

        yield write

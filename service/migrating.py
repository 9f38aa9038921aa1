"""Moving a state directory between schemas: a backup first, then each step in a transaction of its own."""

from collections import Counter
from contextlib import closing
from pathlib import Path

import apsw
import msgspec

from service.audit import archive
from service.audit.chain import Chain
from service.audit.checkpoints import CheckpointWriter
from service.clock import open_clock
from service.control import backed_up, finish_renewal, look_over, refusing
from service.effects import Effect, system_cause
from service.errors import SoniaError
from service.files import appearing
from service.ids import random_id
from service.jsontypes import Json
from service.keys import KeyMaterial
from service.state import StateDir
from service.storage.database import look_at, open_database
from service.storage.migrations import (
    MIGRATIONS,
    Migration,
    check_schema,
    lost_by,
    steps_back,
    take_back,
)
from service.storage.store import audited


class Schema(msgspec.Struct, frozen=True):
    """Which schema a database has, and which the release brings it to at its next start."""

    schema: int
    newest: int


def schema_of(state: StateDir) -> Schema:
    """Tell it, and write nothing. Raises StartRefused."""
    return Schema(look_at(state.database, check_schema), MIGRATIONS[-1].version)


def migrate_down(state: StateDir, to: int, export: Path | None) -> tuple[Schema, Path | None]:
    """Take the schema back to `to` for an earlier release; return what it has now, and the backup made before.

    Where it is back already, as after a kill at the very end, nothing is done and there is no backup. What the steps would
    lose is in the new file `export`, whole and on disk, before any of them is taken. Whoever calls it has the gateway's lock.
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
            steps = steps_back(connection, to)
            if export is None:
                _check_loss(connection, steps)
            backup = backed_up(connection, state, clock.now_ms())
            key = sound.keys.audit_key_bytes()
            chain = Chain(key, sound.checked.head)
            finish_renewal(connection, clock, chain, sound.keys)
            chain.follow(connection)
            exported = {} if export is None else _export(connection, steps, export)

            def done(step: Migration) -> None:
                lost = _loss(connection, step)
                if lost != exported.get(step.version, Counter()):
                    raise SoniaError("the database was changed meanwhile; do it again")
                if step.version == archive.SINCE:
                    _bring_back(connection, chain, state.archive, sound.keys, clock.now_ms())
                cause = system_cause("migrate", "database.migrate", random_id("cli"))
                detail: dict[str, Json] = {"to": step.version - 1, "exported": dict(lost)}
                effect = Effect(None, "migrations", str(step.version), detail)
                audited(connection, chain, clock.now_ms(), cause, effect)

            take_back(connection, to, done)
            CheckpointWriter(state.checkpoints, key, 1, sound.checked.last_seq).write(chain.head)
        clock.sync()
    return schema_of(state), backup


def _bring_back(
    connection: apsw.Connection, chain: Chain, path: Path, keys: KeyMaterial, now_ms: int
) -> None:
    effect = archive.bring_back(connection, path, keys.audit_keys())
    if effect is not None:
        cause = system_cause("migrate", "audit.unarchive", random_id("cli"))
        audited(connection, chain, now_ms, cause, effect)


def _loss(connection: apsw.Connection, step: Migration) -> "Counter[str]":
    """How many rows of each table would lose something."""
    return Counter(table for table, _ in lost_by(connection, step))


def _check_loss(connection: apsw.Connection, steps: tuple[Migration, ...]) -> None:
    lost = sum((_loss(connection, step) for step in steps), Counter[str]())
    if lost:
        told = ", ".join(f"{count} of {table}" for table, count in sorted(lost.items()))
        raise SoniaError(f"rows would lose something: {told}; `--export FILE` keeps it")


def _export(
    connection: apsw.Connection, steps: tuple[Migration, ...], export: Path
) -> dict[int, "Counter[str]"]:
    """Write what `steps` would lose; return how many rows of each table that is, for each step."""
    exported = {step.version: Counter[str]() for step in steps}
    try:
        with appearing(export) as part, part.open("wb") as file:
            for step in steps:
                for table, row in lost_by(connection, step):
                    exported[step.version][table] += 1
                    line = {"schema": step.version, "table": table, "row": row}
                    file.write(msgspec.json.encode(line) + b"\n")
    except OSError as wrong:
        raise SoniaError(f"{export} cannot be written: {wrong.strerror}") from wrong
    return exported

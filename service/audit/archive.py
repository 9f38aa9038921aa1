"""The audit log's oldest rows, moved into a database of their own, without a gap in the chain.

A row is copied there, and the copy is on disk, before it is deleted here: a kill in between leaves it in both. The deletion
is an effect in the log, whose row says which row is the last in the archive, with its HMAC, and what of the older
rows stays. So a start needs no archive, and whoever has it can follow the chain through both.

The archive only grows. After a backup was put in place, the log goes on from an earlier row, and rows of both lines may
have the same number: a row is known by its number and its HMAC, and the chain is what leads to the end that the log names.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
import msgspec

from service.audit.chain import (
    GENESIS,
    NOT_AS_WRITTEN,
    AuditEntry,
    is_as_written,
    values_of,
    wrong_with,
)
from service.audit.seals import needed
from service.effects import Effect
from service.errors import SoniaError, StateDamaged
from service.jsontypes import Json
from service.keys import AuditKeys
from service.query import columns, each, select_one
from service.settings import StorageSettings
from service.storage.database import look_at, open_database
from service.trust import check_database

ROWS_A_STEP: Final = 1000
"""How many rows are moved at once; fewer are left where they are."""
SINCE: Final = 8
"""The schema from which on the log may lack what is in the archive."""
TABLE: Final = "audit"
"""What the row of a deletion names as its table."""

_MADE: Final = """
    CREATE TABLE IF NOT EXISTS audit (
        seq INTEGER NOT NULL, at_ms INTEGER NOT NULL, request_id TEXT NOT NULL, actor_id TEXT NOT NULL, actor_role TEXT NOT NULL,
        action TEXT NOT NULL, route TEXT NOT NULL, method TEXT NOT NULL, target TEXT NOT NULL, outcome TEXT NOT NULL,
        effect_table TEXT, effect_id TEXT, detail TEXT NOT NULL, prev_hmac TEXT NOT NULL, hmac TEXT NOT NULL,
        PRIMARY KEY (seq, hmac)
    ) STRICT, WITHOUT ROWID
"""
_VALUES: Final = f"({columns(AuditEntry)}) VALUES ({', '.join('?' * 15)})"


class Archived(msgspec.Struct, frozen=True):
    """Which rows are in the archive and not here: up to `to_seq`, which has `hmac`, but for `kept` rows, which are here, too.

    Earlier ones than `from_seq` were in an archive that somebody has taken away.
    """

    to_seq: int = 0
    hmac: str = GENESIS
    from_seq: int = 1
    kept: int = 0
    kept_sha256: str = hashlib.sha256().hexdigest()


class Step(msgspec.Struct, frozen=True):
    """Rows that are in the archive now, and may be deleted here but for those with the numbers `needed`."""

    before: Archived
    to_seq: int
    hmac: str
    from_seq: int
    needed: list[int]


class Lost(SoniaError):
    """The archive is not what the log says of it; `seq` is the first row that is wrong or missing."""

    def __init__(self, seq: int | None, reason: str) -> None:
        super().__init__(reason)
        self.seq = seq
        self.reason = reason


def read_archived(connection: apsw.Connection, keys: AuditKeys) -> Archived:
    """What the log says about its archive. Raises Lost when the row that says so is not the one that was written."""
    row = select_one(
        connection, AuditEntry, "FROM audit WHERE effect_table = 'audit' ORDER BY seq DESC LIMIT 1"
    )
    if row is None:
        return Archived()
    if not is_as_written(keys, row):
        raise Lost(row.seq, NOT_AS_WRITTEN)
    return msgspec.json.decode(row.detail, type=Archived)


def check_kept(connection: apsw.Connection, archived: Archived) -> None:
    """Compare what is here of archived rows with what the log says is. Raises Lost."""
    if _kept(connection, archived.to_seq) != (archived.kept, archived.kept_sha256):
        raise Lost(None, f"what is kept of the rows up to {archived.to_seq} is not what was kept")


def _kept(connection: apsw.Connection, to_seq: int) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    for seq, row_mac in connection.execute(
        "SELECT seq, hmac FROM audit WHERE seq <= ? ORDER BY seq", (to_seq,)
    ):
        digest.update(f"{seq}:{row_mac}\n".encode())
        count += 1
    return count, digest.hexdigest()


def copy_step(
    connection: apsw.Connection,
    path: Path,
    keys: AuditKeys,
    before_ms: int,
    settings: StorageSettings,
) -> Step | None:
    """Copy the next rows to the archive, if so many are from before `before_ms` and others follow them.

    Raises Lost for rows that are not the ones that were written, StartRefused and apsw.Error for an archive that cannot be
    written.
    """
    with connection:
        before = read_archived(connection, keys)
        to_seq = before.to_seq + ROWS_A_STEP
        newest_ms, newest = connection.execute(
            "SELECT max(at_ms) FILTER (WHERE seq <= ?2), max(seq) FROM audit WHERE seq > ?1 AND seq <= ?2 + 1",
            (before.to_seq, to_seq),
        ).get or (None, None)
        if newest != to_seq + 1 or newest_ms is None or newest_ms >= before_ms:
            return None
        rows = list(_checked(connection, keys, before, to_seq))
        stay = needed(connection, to_seq)
    with closing(_opened(path, settings)) as archive:
        with archive:
            archive.executemany(
                f"INSERT OR REPLACE INTO audit {_VALUES}",
                [(*values_of(row), row.hmac) for row in rows],
            )
        follows = before.to_seq == 0 or _holds(archive, before)
    from_seq = before.from_seq if follows else before.to_seq + 1
    return Step(before, to_seq, rows[-1].hmac, from_seq, stay)


def _checked(
    connection: apsw.Connection, keys: AuditKeys, after: Archived, to_seq: int
) -> Iterator[AuditEntry]:
    seq, previous = after.to_seq, after.hmac
    rest = "FROM audit WHERE seq > ? AND seq <= ? ORDER BY seq"
    for row in each(connection, AuditEntry, rest, (after.to_seq, to_seq)):
        seq += 1
        if reason := wrong_with(keys, row, seq, previous):
            raise Lost(seq, reason)
        previous = row.hmac
        yield row
    if seq != to_seq:
        raise Lost(seq + 1, "a row is missing")


def _opened(path: Path, settings: StorageSettings) -> apsw.Connection:
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    check_database(path)
    archive = open_database(path, settings, create=True)
    try:
        archive.execute(_MADE)
    except apsw.Error:
        archive.close()
        raise
    return archive


def _holds(archive: apsw.Connection, archived: Archived) -> bool:
    found = "SELECT 1 FROM audit WHERE seq = ? AND hmac = ?"
    return archive.execute(found, (archived.to_seq, archived.hmac)).get is not None


def delete_step(connection: apsw.Connection, step: Step, keys: AuditKeys) -> Effect[None]:
    """Delete here what was copied, but for what is needed. Raises StateDamaged when others were archived meanwhile."""
    if read_archived(connection, keys) != step.before:
        raise StateDamaged("the audit log was archived by somebody else")
    connection.execute(
        "DELETE FROM audit WHERE seq <= ?1 AND seq NOT IN (SELECT value FROM json_each(?2))",
        (step.to_seq, msgspec.json.encode(step.needed).decode()),
    )
    kept, digest = _kept(connection, step.to_seq)
    return effect_of(Archived(step.to_seq, step.hmac, step.from_seq, kept, digest))


def effect_of(archived: Archived) -> Effect[None]:
    """The effect whose row in the log says what is archived."""
    detail: dict[str, Json] = msgspec.to_builtins(archived)
    return Effect(None, TABLE, str(archived.to_seq), detail)


def check_archive(
    path: Path, keys: AuditKeys, archived: Archived, pinned: Mapping[int, str]
) -> int | None:
    """Follow the chain through the archive to the end that the log names; return how many rows that are, None without an archive.

    `pinned` are HMACs of rows that are known, by number. Raises Lost.
    """
    if not path.exists():
        return None
    try:
        return look_at(path, lambda archive: _walk(archive, keys, archived, pinned))
    except (SoniaError, apsw.Error, msgspec.ValidationError) as wrong:
        if isinstance(wrong, Lost):
            raise
        raise Lost(None, f"the archive of the audit log cannot be read: {wrong}") from wrong


def _walk(
    archive: apsw.Connection, keys: AuditKeys, archived: Archived, pinned: Mapping[int, str]
) -> int | None:
    seq, ends, following = archived.from_seq, {GENESIS}, set[str]()
    found = False
    for row in each(
        archive,
        AuditEntry,
        "FROM audit WHERE seq >= ? AND seq <= ? ORDER BY seq",
        (archived.from_seq, archived.to_seq),
    ):
        found = True
        if row.seq > seq:
            ends, following = _through(seq, following, pinned), set()
            seq += 1
        if row.seq > seq:
            raise Lost(seq, f"a row is missing in the archive: {row.seq} follows {seq - 1}")
        if not is_as_written(keys, row):
            raise Lost(seq, "the row in the archive is not the one that was written")
        if row.prev_hmac in ends or (seq == archived.from_seq and seq > 1):
            following.add(row.hmac)
    if not found:
        return None
    if archived.hmac not in _through(seq, following, pinned) or seq != archived.to_seq:
        raise Lost(seq + (seq != archived.to_seq), "rows are missing at the end of the archive")
    return archived.to_seq - archived.from_seq + 1


def _through(seq: int, following: set[str], pinned: Mapping[int, str]) -> set[str]:
    """The HMACs of the rows numbered `seq` that the chain may go through."""
    if not following:
        raise Lost(seq, "a row is missing in the archive")
    if pinned.get(seq, min(following)) not in following:
        raise Lost(seq, "the row in the archive is not the one that was checkpointed")
    return following


def bring_back(connection: apsw.Connection, path: Path, keys: AuditKeys) -> Effect[None] | None:
    """Put all archived rows back into the log, for a release that knows of no archive; None when there are none.

    Raises SoniaError when they are not all there.
    """
    archived = read_archived(connection, keys)
    if archived.to_seq == 0:
        return None
    if archived.from_seq > 1 or check_archive(path, keys, archived, {}) is None:
        raise SoniaError(
            f"rows of the audit log up to {archived.to_seq} are in its archive, without which the release before cannot"
            f" check it; put {path.name} back"
        )
    look_at(path, lambda archive: _copy_back(connection, archive, archived))
    return effect_of(Archived())


def _copy_back(connection: apsw.Connection, archive: apsw.Connection, archived: Archived) -> None:
    # Backwards, because only the end says which of several rows with one number is meant.
    seq, row_mac = archived.to_seq, archived.hmac
    while seq:
        row = select_one(
            archive, AuditEntry, "FROM audit WHERE seq = ? AND hmac = ?", (seq, row_mac)
        )
        assert row is not None, "the chain was just followed"
        connection.execute(
            f"INSERT OR IGNORE INTO audit {_VALUES}",
            (*values_of(row), row.hmac),
        )
        seq, row_mac = seq - 1, row.prev_hmac

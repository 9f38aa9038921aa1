"""State compared with the log: what gives authority is sealed in the audit row of its last change.

The row of an effect on a token, a policy or a confirmation holds a digest of what the effect left, secrets' hashes
included. So a token that was put in, given another role or a longer life, or is no longer revoked, without a row that
tells of it, differs from what the log says; and a row that says otherwise would need the audit key.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

import apsw
import msgspec

from service.audit.chain import NOT_AS_WRITTEN, AuditEntry, is_as_written
from service.jsontypes import Json
from service.keys import AuditKeys
from service.query import Bindings, each

SEALED: Final = "sealed"
"""The name in an audit row's detail: one digest, or for a change of many rows those of each table by id, null for one that is gone."""

_ROWS: Final = {
    "tokens": "SELECT t.id, t.role, t.name, t.source, t.created_at_ms, t.expires_at_ms, t.revoked_at_ms, t.request_id,"
    " hex(s.sha256), s.created_at_ms, s.expires_at_ms, s.request_id"
    " FROM tokens AS t LEFT JOIN token_secrets AS s ON s.token_id = t.id",
    "policies": "SELECT t.name AS id, t.decision, t.version, t.updated_at_ms, t.request_id FROM policies AS t",
    "confirmations": "SELECT t.id, t.tool, hex(t.args), t.args_sha256, t.session_id, t.status, t.created_at_ms,"
    " t.expires_at_ms, t.decided_at_ms, t.decided_by, t.created_by, t.request_id, {} FROM confirmations AS t",
}
WITH_TASKS: Final = range(4, 1 << 31)
"""The schemas in which tasks are run: in earlier ones all are notes, and no confirmation has a task.

A confirmation that has none has the digest that it had before.
"""
_KEYS: Final = {"tokens": "t.id", "policies": "t.name", "confirmations": "t.id"}
AUTHORITY: Final = ("tokens", "policies")
"""What a start compares; a verification compares all."""
ALL: Final = tuple(_ROWS)

# As in the index `audit_sealed`, word for word, or SQLite does not use it.
_TOLD: Final = (
    "FROM audit WHERE effect_table IN ('tokens', 'policies', 'confirmations', 'clock') ORDER BY seq"
)
# What a state begins with has no row: the policies as the first migration makes them.
_AS_MADE: Final = {
    ("policies", name): (name, decision, 1, 0, "init")
    for name, decision in (
        ("safe_read", "allow"),
        ("guarded_low", "allow"),
        ("guarded_high", "confirm"),
        ("destructive", "deny"),
    )
}
_UNTOLD: Final = """
    SELECT effect_table, effect_id FROM effects AS e WHERE NOT EXISTS (
        SELECT 1 FROM audit AS a WHERE a.request_id = e.request_id AND (
            a.effect_table = e.effect_table AND a.effect_id = e.effect_id
            OR a.action = 'clock.accept'
            OR e.effect_table = 'tool_runs' AND a.effect_table = 'confirmations' AND a.detail ->> '$.run' = e.effect_id
        )
    ) LIMIT 1
"""
# As `_UNTOLD`, from the other side: is there something that a row tells of? Asked with values, the view is not read as a whole.
_THERE: Final = "SELECT 1 FROM effects WHERE effect_table = ? AND effect_id = ? AND request_id = ?"
_TELLING: Final = (
    "SELECT seq, effect_table, effect_id, detail ->> '$.run', request_id FROM audit"
    " WHERE seq <= ? AND effect_table IS NOT NULL"
)
_SEALING: Final = _TOLD.replace("ORDER BY", "AND seq <= ? ORDER BY")


class Disagreement(msgspec.Struct, frozen=True):
    """What differs, and the audit row that shows it, where it is one row."""

    reason: str
    seq: int | None = None


def seal(connection: apsw.Connection, table: str, row_id: str) -> str | None:
    """The digest of a row as it is now, for the audit row of its change; None for a table that is not sealed."""
    if table not in _ROWS:
        return None
    return seals(connection, table, (row_id,)).get(row_id)


def seals(
    connection: apsw.Connection, table: str, ids: Iterable[str] | None = None
) -> dict[str, str]:
    """The digests of rows as they are now, by id; of all rows without `ids`."""
    if ids is None:
        return _digests(_rows(connection, table))
    found: dict[str, str] = {}
    for row_id in ids:
        found |= _digests(_rows(connection, table, f"WHERE {_KEYS[table]} = ?", (row_id,)))
    return found


def gone(table: str, ids: Iterable[str]) -> Json:
    """What the audit row of a deletion says in place of digests."""
    return {table: dict.fromkeys(ids)}


def _rows(
    connection: apsw.Connection, table: str, rest: str = "", bindings: Bindings = ()
) -> "Iterator[tuple[apsw.SQLiteValue, ...]]":
    tasks = "NULL"
    if table == "confirmations" and connection.pragma("user_version") in WITH_TASKS:
        tasks = "t.task_id"
    for row in connection.execute(f"{_ROWS[table].format(tasks)} {rest}", bindings):
        yield row[:-1] if table == "confirmations" and row[-1] is None else row


def _digests(rows: "Iterable[tuple[apsw.SQLiteValue, ...]]") -> dict[str, str]:
    parts: dict[str, list[bytes]] = {}
    for row in rows:
        parts.setdefault(str(row[0]), []).append(msgspec.json.encode(row))
    return {
        row_id: hashlib.sha256(b"\n".join(sorted(found))).hexdigest()
        for row_id, found in parts.items()
    }


def disagreement(
    connection: apsw.Connection, keys: AuditKeys, tables: Iterable[str]
) -> Disagreement | None:
    """The first row of `tables` that is not as the log says, in the connection's snapshot."""
    told: dict[tuple[str, str], str | None] = {
        place: _digests([row])[row[0]] for place, row in _AS_MADE.items()
    }
    for row in each(connection, AuditEntry, _TOLD):
        if not is_as_written(keys, row):
            return Disagreement(NOT_AS_WRITTEN, row.seq)
        told |= _sealed(row)
    for table in tables:
        present = seals(connection, table)
        expected = {row_id: digest for (of, row_id), digest in told.items() if of == table}
        for row_id in sorted(present.keys() | expected.keys()):
            if present.get(row_id) != expected.get(row_id):
                return Disagreement(f"{table} {row_id!r} is not as the log says")
    return None


def untold(connection: apsw.Connection) -> Disagreement | None:
    """A row whose last change no audit row tells of."""
    for table, row_id in connection.execute(_UNTOLD):
        return Disagreement(f"{table} {row_id!r} is there, and the log does not say why")
    return None


def needed(connection: apsw.Connection, to_seq: int) -> list[int]:
    """Which rows up to `to_seq` are asked for: those that tell of something that is there, or how it was left last.

    Once not needed, a row never is again: what is changed has another row, and nothing comes back.
    """
    last: dict[tuple[str, str], tuple[int, str | None]] = {}
    for row in each(connection, AuditEntry, _SEALING, (to_seq,)):
        last |= {place: (row.seq, digest) for place, digest in _sealed(row).items()}
    sealing = {seq for seq, digest in last.values() if digest is not None}
    return sorted(sealing.union(_telling(connection, to_seq)))


def _telling(connection: apsw.Connection, to_seq: int) -> Iterator[int]:
    for seq, table, row_id, run_id, request_id in connection.execute(_TELLING, (to_seq,)):
        assert isinstance(seq, int)
        about = [(table, row_id)] if run_id is None else [(table, row_id), ("tool_runs", run_id)]
        # A clock is rarely accepted, and that tells of whatever it ended.
        if table == "clock" or any(
            connection.execute(_THERE, (*place, request_id)).get for place in about
        ):
            yield seq


def _sealed(row: AuditEntry) -> dict[tuple[str, str], str | None]:
    found = msgspec.json.decode(row.detail, type=_Detail).sealed
    if isinstance(found, str):
        return {(str(row.effect_table), str(row.effect_id)): found}
    return {
        (table, row_id): digest for table, rows in found.items() for row_id, digest in rows.items()
    }


class _Detail(msgspec.Struct, frozen=True):
    sealed: str | dict[str, dict[str, str | None]] = {}

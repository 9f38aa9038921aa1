"""The schema of the control database, as numbered steps that are never edited once released."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

import apsw
import msgspec

from service.errors import RESTORE, StartRefused


class Migration(msgspec.Struct, frozen=True):
    """One step: applied in one transaction together with `user_version` and its checksum.

    It only adds, so that what the release before asks of the database still holds. `down` takes back what it added; a
    step without one cannot be taken back.
    """

    version: int
    sql: str
    down: str = ""

    @property
    def sha256(self) -> str:
        """SHA-256 of the step's text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


# Its text is that of migration 2, character for character.
_EFFECTS_2: Final = """
        CREATE VIEW effects (effect_table, effect_id, created_by, request_id) AS
            SELECT 'sessions', id, created_by, request_id FROM sessions
            UNION ALL SELECT 'tasks', id, created_by, request_id FROM tasks
            UNION ALL SELECT 'turns', id, created_by, request_id FROM turns
            UNION ALL SELECT 'confirmations', id, created_by, request_id FROM confirmations
            UNION ALL SELECT 'tool_runs', id, created_by, request_id FROM tool_runs
            UNION ALL SELECT 'policies', name, NULL, request_id FROM policies WHERE request_id <> 'init'
            UNION ALL SELECT 'tokens', id, NULL, request_id FROM tokens
        """

# Its text is that of migration 6, character for character.
_EFFECTS_6: Final = """
        CREATE VIEW effects (effect_table, effect_id, created_by, request_id) AS
            SELECT 'sessions', id, created_by, request_id FROM sessions
            UNION ALL SELECT 'tasks', id, created_by, request_id FROM tasks
            UNION ALL SELECT 'turns', id, created_by, request_id FROM turns
            UNION ALL SELECT 'confirmations', id, created_by, request_id FROM confirmations
            UNION ALL SELECT 'tool_runs', id, created_by, request_id FROM tool_runs
            UNION ALL SELECT 'dead_letters', id, created_by, request_id FROM dead_letters
            UNION ALL SELECT 'outbox', effect_key, created_by, request_id FROM outbox
            UNION ALL SELECT 'restart_attempts', id, NULL, request_id FROM restart_attempts
            UNION ALL SELECT 'maintenance', service_name, NULL, request_id FROM maintenance
            UNION ALL SELECT 'policies', name, NULL, request_id FROM policies WHERE request_id <> 'init'
            UNION ALL SELECT 'tokens', id, NULL, request_id FROM tokens
        """

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        """
        CREATE TABLE tokens (
            id TEXT PRIMARY KEY,
            role TEXT NOT NULL,
            name TEXT NOT NULL,
            source TEXT NOT NULL CHECK (source IN ('bootstrap', 'issued')),
            created_at_ms INTEGER NOT NULL,
            expires_at_ms INTEGER,
            revoked_at_ms INTEGER,
            request_id TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE token_secrets (
            sha256 BLOB PRIMARY KEY CHECK (length(sha256) = 32),
            token_id TEXT NOT NULL REFERENCES tokens (id),
            created_at_ms INTEGER NOT NULL,
            expires_at_ms INTEGER,
            request_id TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX token_secrets_by_token ON token_secrets (token_id);

        CREATE TABLE audit (
            seq INTEGER PRIMARY KEY,
            at_ms INTEGER NOT NULL,
            request_id TEXT NOT NULL,
            actor_id TEXT NOT NULL,
            actor_role TEXT NOT NULL,
            action TEXT NOT NULL,
            route TEXT NOT NULL,
            method TEXT NOT NULL,
            target TEXT NOT NULL,
            outcome TEXT NOT NULL CHECK (outcome IN ('allowed', 'denied', 'system')),
            effect_table TEXT,
            effect_id TEXT,
            detail TEXT NOT NULL,
            prev_hmac TEXT NOT NULL,
            hmac TEXT NOT NULL
        ) STRICT;
        CREATE INDEX audit_by_request ON audit (request_id);

        CREATE TABLE sessions (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            label TEXT NOT NULL,
            created_at_ms INTEGER NOT NULL,
            expires_at_ms INTEGER NOT NULL,
            closed_at_ms INTEGER,
            turn_count INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            request_id TEXT NOT NULL
        ) STRICT;

        CREATE TABLE turns (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            session_id TEXT REFERENCES sessions (id),
            at_ms INTEGER NOT NULL,
            text TEXT NOT NULL,
            answer TEXT NOT NULL,
            degraded INTEGER NOT NULL CHECK (degraded IN (0, 1)),
            created_by TEXT NOT NULL,
            request_id TEXT NOT NULL
        ) STRICT;

        CREATE TABLE tasks (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            payload TEXT NOT NULL,
            session_id TEXT REFERENCES sessions (id),
            status TEXT NOT NULL CHECK (status IN
                ('queued', 'running', 'completed', 'failed', 'cancelled', 'needs_operator')),
            created_at_ms INTEGER NOT NULL,
            updated_at_ms INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            request_id TEXT NOT NULL
        ) STRICT;

        CREATE TABLE confirmations (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            tool TEXT NOT NULL,
            args BLOB NOT NULL,
            args_sha256 TEXT NOT NULL,
            session_id TEXT REFERENCES sessions (id),
            status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired')),
            created_at_ms INTEGER NOT NULL,
            expires_at_ms INTEGER NOT NULL,
            decided_at_ms INTEGER,
            decided_by TEXT,
            created_by TEXT NOT NULL,
            request_id TEXT NOT NULL
        ) STRICT;

        CREATE TABLE tool_runs (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            tool TEXT NOT NULL,
            args BLOB NOT NULL,
            args_sha256 TEXT NOT NULL,
            confirmation_id TEXT UNIQUE REFERENCES confirmations (id),
            status TEXT NOT NULL CHECK (status IN
                ('started', 'succeeded', 'failed', 'verification_failed', 'needs_operator')),
            result TEXT,
            created_at_ms INTEGER NOT NULL,
            updated_at_ms INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            request_id TEXT NOT NULL
        ) STRICT;

        CREATE TABLE policies (
            name TEXT PRIMARY KEY,
            decision TEXT NOT NULL CHECK (decision IN ('allow', 'confirm', 'deny')),
            version INTEGER NOT NULL,
            updated_at_ms INTEGER NOT NULL,
            request_id TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        INSERT INTO policies VALUES
            ('safe_read', 'allow', 1, 0, 'init'),
            ('guarded_low', 'allow', 1, 0, 'init'),
            ('guarded_high', 'confirm', 1, 0, 'init'),
            ('destructive', 'deny', 1, 0, 'init');

        CREATE TABLE idempotency (
            actor_id TEXT NOT NULL,
            route TEXT NOT NULL,
            key TEXT NOT NULL,
            payload_sha256 TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('in_flight', 'done', 'secret', 'interrupted')),
            status INTEGER,
            headers TEXT,
            body BLOB,
            created_at_ms INTEGER NOT NULL,
            PRIMARY KEY (actor_id, route, key)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    # Everything an audit row can be about, with the request that wrote it last; policies as they were made are no effect.
    Migration(
        2,
        _EFFECTS_2,
    ),
    # Every start asks for these rows, however long the log is; service/audit/seals.py asks in the same words.
    Migration(
        3,
        """
        CREATE INDEX audit_sealed ON audit (seq)
            WHERE effect_table IN ('tokens', 'policies', 'confirmations', 'clock')
        """,
    ),
    # Tasks that are run: how often one was claimed without an end, the epoch that fences off earlier claims, from when on
    # it may be claimed (never: a note, or one that waits for a decision), what came of it, and where those go that are given up.
    Migration(
        4,
        """
        ALTER TABLE tasks ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE tasks ADD COLUMN claim_epoch INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE tasks ADD COLUMN not_before_ms INTEGER;
        ALTER TABLE tasks ADD COLUMN outcome TEXT NOT NULL DEFAULT 'null';
        CREATE INDEX tasks_due ON tasks (not_before_ms, seq) WHERE status = 'queued' AND not_before_ms IS NOT NULL;
        CREATE INDEX tasks_running ON tasks (seq) WHERE status = 'running';
        ALTER TABLE tool_runs ADD COLUMN task_id TEXT REFERENCES tasks (id);
        CREATE INDEX tool_runs_of_task ON tool_runs (task_id) WHERE task_id IS NOT NULL;
        CREATE INDEX tool_runs_started ON tool_runs (seq) WHERE status = 'started';
        ALTER TABLE confirmations ADD COLUMN task_id TEXT REFERENCES tasks (id);
        CREATE INDEX confirmations_of_task ON confirmations (task_id) WHERE task_id IS NOT NULL;
        CREATE INDEX confirmations_pending ON confirmations (expires_at_ms) WHERE status = 'pending';

        CREATE TABLE dead_letters (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            task_id TEXT NOT NULL UNIQUE REFERENCES tasks (id),
            reason TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            replayed_as TEXT REFERENCES tasks (id),
            created_by TEXT NOT NULL,
            request_id TEXT NOT NULL
        ) STRICT;
        CREATE INDEX dead_letters_replayed ON dead_letters (replayed_as) WHERE replayed_as IS NOT NULL;
        """,
        """
        DROP TABLE dead_letters;
        DROP INDEX confirmations_pending;
        DROP INDEX confirmations_of_task;
        ALTER TABLE confirmations DROP COLUMN task_id;
        DROP INDEX tool_runs_started;
        DROP INDEX tool_runs_of_task;
        ALTER TABLE tool_runs DROP COLUMN task_id;
        DROP INDEX tasks_running;
        DROP INDEX tasks_due;
        ALTER TABLE tasks DROP COLUMN outcome;
        ALTER TABLE tasks DROP COLUMN not_before_ms;
        ALTER TABLE tasks DROP COLUMN claim_epoch;
        ALTER TABLE tasks DROP COLUMN attempts;
        """,
    ),
    # What is owed to another process: in order for each aggregate, each effect once by its key. The rows about one
    # aggregate are found in the order of `seq`, and the next aggregate with one, by the index alone. Sessions end for good:
    # whether something is about one, indexes say.
    Migration(
        5,
        """
        CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY,
            effect_key TEXT NOT NULL UNIQUE,
            aggregate TEXT NOT NULL,
            kind TEXT NOT NULL,
            payload TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'needs_operator')),
            created_at_ms INTEGER NOT NULL,
            updated_at_ms INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            request_id TEXT NOT NULL
        ) STRICT;
        CREATE INDEX outbox_pending ON outbox (aggregate, seq) WHERE status = 'pending';

        CREATE INDEX turns_of_session ON turns (session_id) WHERE session_id IS NOT NULL;
        CREATE INDEX tasks_of_session ON tasks (session_id) WHERE session_id IS NOT NULL;
        CREATE INDEX confirmations_of_session ON confirmations (session_id) WHERE session_id IS NOT NULL;
        """,
        """
        DROP TABLE outbox;
        DROP INDEX turns_of_session;
        DROP INDEX tasks_of_session;
        DROP INDEX confirmations_of_session;
        """,
    ),
    # Restarts of the other processes: every attempt is written before its spawn; the budget is the state of record of
    # them. Its columns are pinned by the scope of v4.6. A boot that has no end was ended by a kill.
    Migration(
        6,
        f"""
        CREATE TABLE boots (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            at_ms INTEGER NOT NULL,
            ended_at_ms INTEGER
        ) STRICT;
        CREATE TABLE restart_attempts (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            service_name TEXT NOT NULL,
            cause TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            boot_id TEXT NOT NULL REFERENCES boots (id),
            request_id TEXT NOT NULL
        ) STRICT;
        CREATE INDEX restart_attempts_by_service ON restart_attempts (service_name, seq);
        CREATE TABLE restart_budgets (
            service_name TEXT PRIMARY KEY,
            window_start_ms INTEGER NOT NULL,
            attempt_count INTEGER NOT NULL,
            backoff_until_epoch_ms INTEGER NOT NULL,
            exhausted INTEGER NOT NULL CHECK (exhausted IN (0, 1)),
            updated_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE maintenance (
            service_name TEXT PRIMARY KEY,
            enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
            updated_at_ms INTEGER NOT NULL,
            request_id TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;

        DROP VIEW effects;{_EFFECTS_6}""",
        f"""
        DROP VIEW effects;
        {_EFFECTS_2};
        DROP TABLE maintenance;
        DROP TABLE restart_budgets;
        DROP TABLE restart_attempts;
        DROP TABLE boots;
        """,
    ),
    # Degrade mode outlives a restart. How it came to be stands in the audit log; `canaries` is what they write.
    Migration(
        7,
        """
        CREATE TABLE slo_modes (
            objective TEXT PRIMARY KEY,
            mode TEXT NOT NULL CHECK (mode IN ('normal', 'degraded')),
            since_ms INTEGER NOT NULL,
            transitions INTEGER NOT NULL,
            canaries INTEGER NOT NULL DEFAULT 0,
            request_id TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;

        DROP VIEW effects;
        CREATE VIEW effects (effect_table, effect_id, created_by, request_id) AS
            SELECT 'sessions', id, created_by, request_id FROM sessions
            UNION ALL SELECT 'tasks', id, created_by, request_id FROM tasks
            UNION ALL SELECT 'turns', id, created_by, request_id FROM turns
            UNION ALL SELECT 'confirmations', id, created_by, request_id FROM confirmations
            UNION ALL SELECT 'tool_runs', id, created_by, request_id FROM tool_runs
            UNION ALL SELECT 'dead_letters', id, created_by, request_id FROM dead_letters
            UNION ALL SELECT 'outbox', effect_key, created_by, request_id FROM outbox
            UNION ALL SELECT 'restart_attempts', id, NULL, request_id FROM restart_attempts
            UNION ALL SELECT 'maintenance', service_name, NULL, request_id FROM maintenance
            UNION ALL SELECT 'slo_modes', objective, NULL, request_id FROM slo_modes
            UNION ALL SELECT 'policies', name, NULL, request_id FROM policies WHERE request_id <> 'init'
            UNION ALL SELECT 'tokens', id, NULL, request_id FROM tokens
        """,
        f"""
        DROP VIEW effects;
        {_EFFECTS_6};
        DROP TABLE slo_modes;
        """,
    ),
    # The log may lack what is in its archive; the last of these rows says so, and every start asks for it.
    Migration(
        8,
        "CREATE INDEX audit_archived ON audit (seq) WHERE effect_table = 'audit'",
        "DROP INDEX audit_archived",
    ),
)

_LEDGER = """
    CREATE TABLE IF NOT EXISTS migrations (
        version INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, applied_at_ms INTEGER NOT NULL
    ) STRICT
"""


def migrate(
    connection: apsw.Connection,
    now_ms: int,
    steps: tuple[Migration, ...] = MIGRATIONS,
    done: Callable[[Migration], None] = lambda _: None,
) -> None:
    """Bring the schema to the newest version, each step in one transaction, in which `done` is called after the step is.

    Raises StartRefused as `check_schema`.
    """
    for step in steps[check_schema(connection, steps) :]:
        with connection:
            for _ in connection.execute(_LEDGER):
                pass
            for _ in connection.execute(step.sql):
                pass
            connection.execute(
                "INSERT INTO migrations VALUES (?, ?, ?)", (step.version, step.sha256, now_ms)
            )
            done(step)
            connection.pragma("user_version", step.version)


def steps_back(
    connection: apsw.Connection, to: int, steps: tuple[Migration, ...] = MIGRATIONS
) -> tuple[Migration, ...]:
    """The steps after `to` that the database has, the newest first.

    Raises StartRefused as `check_schema`, and for a step that cannot be taken back.
    """
    back = steps[to : check_schema(connection, steps)][::-1]
    for step in back:
        if not step.down:
            raise StartRefused(f"schema {step.version} cannot be taken back", RESTORE)
    return back


def take_back(
    connection: apsw.Connection,
    to: int,
    done: Callable[[Migration], None],
    steps: tuple[Migration, ...] = MIGRATIONS,
) -> None:
    """Take back all steps after `to`, each in one transaction, in which `done` is called before the step is.

    Raises StartRefused as `steps_back`.
    """
    for step in steps_back(connection, to, steps):
        with connection:
            done(step)
            for _ in connection.execute(step.down):
                pass
            connection.execute("DELETE FROM migrations WHERE version = ?", (step.version,))
            connection.pragma("user_version", step.version - 1)


def lost_by(
    connection: apsw.Connection, step: Migration, steps: tuple[Migration, ...] = MIGRATIONS
) -> Iterator[tuple[str, dict[str, "apsw.SQLiteValue"]]]:
    """What taking back `step` would lose: rows of tables that it made, and rows that differ from the defaults of columns
    that it added; each with its table."""
    before, after = (_columns(steps[: step.version - back]) for back in (1, 0))
    for table, added in after.items():
        gone = added.keys() - before.get(table, {}).keys()
        told = " OR ".join(f'"{name}" IS NOT {added[name] or "NULL"}' for name in sorted(gone))
        if gone:
            where = f"WHERE {told}" if table in before else ""
            cursor = connection.execute(f'SELECT * FROM "{table}" {where}')  # noqa: S608 - names of our own schema
            for row in cursor:
                names = (name for name, _ in cursor.get_description())
                yield table, dict(zip(names, row, strict=True))


def _columns(steps: tuple[Migration, ...]) -> dict[str, dict[str, str | None]]:
    """The columns of every table that these steps make, each with the text of its default."""
    with closing(apsw.Connection(":memory:")) as empty:
        migrate(empty, 0, steps)
        rows = empty.execute(
            "SELECT t.name, c.name, c.dflt_value FROM sqlite_schema AS t, pragma_table_info(t.name) AS c"
            " WHERE t.type = 'table'"
        )
        found: dict[str, dict[str, str | None]] = {}
        for table, column, default in rows:
            text = None if default is None else str(default)
            found.setdefault(str(table), {})[str(column)] = text
    return found


def check_schema(connection: apsw.Connection, steps: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Return how many of the steps the database has.

    Raises StartRefused for a database newer than this release, or one whose applied steps are
    not, text for text, the ones this release knows.
    """
    current = _user_version(connection)
    if current > steps[-1].version:
        raise StartRefused(
            f"control.db has schema {current}, newer than this release's {steps[-1].version}",
            f"start the release that wrote it, or {RESTORE}",
        )
    if current:
        _check_ledger(connection, steps[:current])
    return current


def _user_version(connection: apsw.Connection) -> int:
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    return version


def _check_ledger(connection: apsw.Connection, applied: tuple[Migration, ...]) -> None:
    recorded = list(connection.execute("SELECT version, sha256 FROM migrations ORDER BY version"))
    if recorded != [(step.version, step.sha256) for step in applied]:
        raise StartRefused(
            "control.db was migrated by other steps than this release's",
            f"start the release that wrote it, or {RESTORE}",
        )

"""The memory process's own database: texts and their full-text index, in `memory.db`.

Search is BM25 over SQLite FTS5. One connection, used by one thread at a time.
"""

import hashlib
import re
from pathlib import Path

import apsw
import msgspec

from service.memory.tokens import token_count
from service.messages.memory import Memory
from service.query import columns, each, select

SCHEMA_VERSION = 2
BUSY_TIMEOUT_MS = 5000
MAX_QUERY_WORDS = 64

_SCHEMA_1 = """
CREATE TABLE memories (
    seq INTEGER PRIMARY KEY,
    memory_id TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL,
    tokens INTEGER NOT NULL CHECK (tokens > 0),
    session_id TEXT,
    created_at_ms INTEGER NOT NULL
) STRICT;
CREATE VIRTUAL TABLE memories_index USING fts5(
    text, content='memories', content_rowid='seq', tokenize='unicode61 remove_diacritics 2'
);
CREATE TRIGGER memories_indexed AFTER INSERT ON memories BEGIN
    INSERT INTO memories_index (rowid, text) VALUES (new.seq, new.text);
END;
"""

# Every effect that was had, by its key, for as long as it may be asked for again: whatever becomes of the memory itself.
_SCHEMA_2 = """
CREATE TABLE applied (
    effect_key TEXT PRIMARY KEY,
    seq INTEGER,
    sha256 TEXT NOT NULL,
    applied_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

# Equal scores are decided by age, so that the same question gets the same answer.
_SEARCH = """
FROM memories JOIN (
    SELECT rowid AS found, bm25(memories_index) AS score FROM memories_index WHERE memories_index MATCH ?
) ON seq = found
ORDER BY score, seq
LIMIT ?
"""

_WORD = re.compile(r"\w+")


class MemoryStoreUnusable(Exception):
    """The database cannot be used: not SQLite, damaged, or of a newer version. Says why in one sentence."""


class MemoryConflict(Exception):
    """The id is taken by another text."""


class Effect(msgspec.Struct, frozen=True):
    """To remember a text. `key` names the effect, and the memory; `seq` is its place among those of the sender."""

    key: str
    seq: int | None
    text: str
    session_id: str | None

    @property
    def sha256(self) -> str:
        """What tells one effect from another under the same key, in hex."""
        return hashlib.sha256(msgspec.json.encode((self.text, self.session_id))).hexdigest()

    def memory(self, at_ms: int) -> Memory:
        """What is remembered when it is had at `at_ms`."""
        return Memory(self.key, self.text, token_count(self.text), self.session_id, at_ms)


class MemoryStore:
    """Opens (and at first creates) the database at `path`.

    Raises MemoryStoreUnusable.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = apsw.Connection(str(path))
            self._prepare()
        except apsw.Error as error:
            raise MemoryStoreUnusable(f"{path.name}: {error}") from None

    def close(self) -> None:
        """Close the database; the last connection folds the write-ahead log in."""
        self._db.close()

    def store(self, effect: Effect, *, now_ms: int) -> tuple[Memory, bool]:
        """Remember a text, unless that was done before; returns the memory and whether it is new.

        The effect and its key are one commit, durable when this returns. Raises MemoryConflict when another effect
        has the key.
        """
        with self._db:
            known = self._db.execute(
                "SELECT sha256, applied_at_ms FROM applied WHERE effect_key = ?", (effect.key,)
            ).get
            if known is not None:
                sha256, applied_at_ms = known
                if sha256 != effect.sha256:
                    raise MemoryConflict(effect.key)
                return effect.memory(applied_at_ms), False
            memory = effect.memory(now_ms)
            self._db.execute(
                f"INSERT INTO memories ({columns(Memory)}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - our own column names
                msgspec.structs.astuple(memory),
            )
            self._applied(effect, now_ms)
        return memory, True

    def search(self, query: str, limit: int) -> list[Memory]:
        """At most `limit` memories that share a word with `query`, best first. Deterministic."""
        expression = match_expression(query)
        if not expression:
            return []
        return select(self._db, Memory, _SEARCH, (expression, limit))

    def count(self) -> int:
        """How many memories there are."""
        return int(self._db.execute("SELECT count(*) FROM memories").get)

    def _prepare(self) -> None:
        self._db.set_busy_timeout(BUSY_TIMEOUT_MS)
        self._db.pragma("journal_mode", "wal")
        self._db.pragma("synchronous", "full")
        verdict = self._db.pragma("quick_check")
        if verdict != "ok":
            raise MemoryStoreUnusable(f"memory.db is damaged: {verdict}")
        version = self._db.pragma("user_version")
        if version not in range(SCHEMA_VERSION + 1):
            raise MemoryStoreUnusable(
                f"memory.db has version {version}, this release knows {SCHEMA_VERSION}"
            )
        if version < SCHEMA_VERSION:
            with self._db:
                self._upgrade(version)

    def _upgrade(self, version: int) -> None:
        if version < 1:
            self._run(_SCHEMA_1)
        if version < 2:
            self._run(_SCHEMA_2)
            for memory in each(self._db, Memory, "FROM memories ORDER BY seq"):
                had = Effect(memory.memory_id, None, memory.text, memory.session_id)
                self._applied(had, memory.created_at_ms)
        self._db.pragma("user_version", SCHEMA_VERSION)

    def _run(self, statements: str) -> None:
        for _ in self._db.execute(statements):
            pass

    def _applied(self, effect: Effect, at_ms: int) -> None:
        self._db.execute(
            "INSERT INTO applied (effect_key, seq, sha256, applied_at_ms) VALUES (?, ?, ?, ?)",
            (effect.key, effect.seq, effect.sha256, at_ms),
        )


def match_expression(query: str) -> str:
    """The FTS5 expression for free text: any of its words, each quoted, so that no text is query syntax."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(query))
    return " OR ".join(f'"{word}"' for word in list(words)[:MAX_QUERY_WORDS])

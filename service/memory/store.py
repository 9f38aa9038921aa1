"""The memory process's own database: texts and their full-text index, in `memory.db`.

Search is BM25 over SQLite FTS5. One connection, used by one thread at a time.
"""

import re
from pathlib import Path

import apsw
import msgspec

from service.memory.tokens import token_count
from service.messages.memory import Memory

SCHEMA_VERSION = 1
BUSY_TIMEOUT_MS = 5000
MAX_QUERY_WORDS = 64

_SCHEMA = """
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
PRAGMA user_version = 1;
"""

# Equal scores are decided by age, so that the same question gets the same answer.
_SEARCH = """
SELECT m.memory_id, m.text, m.tokens, m.session_id, m.created_at_ms
FROM memories_index JOIN memories AS m ON m.seq = memories_index.rowid
WHERE memories_index MATCH ?
ORDER BY bm25(memories_index), m.seq
LIMIT ?
"""

_WORD = re.compile(r"\w+")


class MemoryStoreUnusable(Exception):
    """The database cannot be used: not SQLite, damaged, or of a newer version. Says why in one sentence."""


class MemoryConflict(Exception):
    """The id is taken by another text."""


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

    def store(
        self, text: str, *, memory_id: str, session_id: str | None, now_ms: int
    ) -> tuple[Memory, bool]:
        """Remember `text`; returns the memory and whether it is new. Durable when this returns.

        Raises MemoryConflict when `memory_id` already names another text.
        """
        with self._db:
            known = self._get(memory_id)
            if known is not None:
                if (known.text, known.session_id) != (text, session_id):
                    raise MemoryConflict(memory_id)
                return known, False
            memory = Memory(memory_id, text, token_count(text), session_id, now_ms)
            self._db.execute(
                "INSERT INTO memories (memory_id, text, tokens, session_id, created_at_ms) VALUES (?, ?, ?, ?, ?)",
                (
                    memory.memory_id,
                    memory.text,
                    memory.tokens,
                    memory.session_id,
                    memory.created_at_ms,
                ),
            )
        return memory, True

    def search(self, query: str, limit: int) -> list[Memory]:
        """At most `limit` memories that share a word with `query`, best first. Deterministic."""
        expression = match_expression(query)
        if not expression:
            return []
        return [_memory(row) for row in self._db.execute(_SEARCH, (expression, limit))]

    def count(self) -> int:
        """How many memories there are."""
        return int(self._db.execute("SELECT count(*) FROM memories").get)

    def _get(self, memory_id: str) -> Memory | None:
        rows = self._db.execute(
            "SELECT memory_id, text, tokens, session_id, created_at_ms FROM memories WHERE memory_id = ?",
            (memory_id,),
        )
        return next((_memory(row) for row in rows), None)

    def _prepare(self) -> None:
        self._db.set_busy_timeout(BUSY_TIMEOUT_MS)
        self._db.pragma("journal_mode", "wal")
        self._db.pragma("synchronous", "full")
        version = self._db.pragma("user_version")
        if version == 0:
            with self._db:
                for _ in self._db.execute(_SCHEMA):
                    pass
        elif version != SCHEMA_VERSION:
            raise MemoryStoreUnusable(
                f"memory.db has version {version}, this release knows {SCHEMA_VERSION}"
            )
        verdict = self._db.pragma("quick_check")
        if verdict != "ok":
            raise MemoryStoreUnusable(f"memory.db is damaged: {verdict}")


def match_expression(query: str) -> str:
    """The FTS5 expression for free text: any of its words, each quoted, so that no text is query syntax."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(query))
    return " OR ".join(f'"{word}"' for word in list(words)[:MAX_QUERY_WORDS])


def _memory(row: "tuple[apsw.SQLiteValue, ...]") -> Memory:
    return msgspec.convert(dict(zip(Memory.__struct_fields__, row, strict=True)), Memory)

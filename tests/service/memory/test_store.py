"""The memory store and the token budget."""

from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.memory.store import (
    Effect,
    MemoryConflict,
    MemoryStore,
    MemoryStoreUnusable,
    match_expression,
)
from service.memory.tokens import token_count, within_budget
from service.messages.memory import Memory


def remember(store: MemoryStore, *texts: str) -> None:
    for number, text in enumerate(texts):
        store.store(Effect(f"m{number}", None, text, None), now_ms=number)


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path / "memory.db")


def test_what_shares_a_word_is_found_best_first(store: MemoryStore) -> None:
    remember(store, "a cat that sat on a mat in a house", "cat and cat", *["other"] * 10)
    assert [each.memory_id for each in store.search("CAT!", 10)] == ["m1", "m0"]
    assert store.search("zebra", 10) == []


def test_equal_scores_come_oldest_first_every_time(store: MemoryStore) -> None:
    remember(store, *["same words here"] * 20)
    found = [each.memory_id for each in store.search("words", 50)]
    assert found == [f"m{number}" for number in range(20)]
    assert all([each.memory_id for each in store.search("words", 50)] == found for _ in range(3))


@pytest.mark.parametrize(
    "query", ['"', "a AND", "NEAR(x", "col:val", "*", "-a", "'; DROP TABLE memories", "", "   "]
)
def test_no_text_is_query_syntax(store: MemoryStore, query: str) -> None:
    remember(store, "plain text")
    store.search(query, 10)
    assert store.count() == 1


def test_the_same_effect_twice_is_had_once_and_another_under_its_key_is_refused(
    store: MemoryStore,
) -> None:
    effect = Effect("m", 7, "text", None)
    first, new = store.store(effect, now_ms=1)
    again, again_new = store.store(effect, now_ms=2)
    assert (new, again_new, again) == (True, False, first)
    for other in ("other", None), ("text", "s"):
        with pytest.raises(MemoryConflict):
            store.store(Effect("m", 7, *other), now_ms=3)
    assert store.count() == 1


def test_an_effect_is_known_after_what_it_made_is_gone(store: MemoryStore, tmp_path: Path) -> None:
    first, _ = store.store(Effect("m", 7, "text", None), now_ms=1)
    store.close()
    altered(tmp_path / "memory.db", "DELETE FROM memories")
    store = MemoryStore(tmp_path / "memory.db")
    assert store.store(Effect("m", 7, "text", None), now_ms=2) == (first, False)
    assert store.count() == 0


def test_an_effect_and_its_key_are_one_commit(store: MemoryStore, tmp_path: Path) -> None:
    remember(store, "text")
    altered(tmp_path / "memory.db", "DELETE FROM applied")
    with pytest.raises(apsw.ConstraintError):
        remember(store, "text")
    assert query(tmp_path / "memory.db", "SELECT * FROM applied") == []


def test_what_an_older_release_has_stored_is_known_by_its_key(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = MemoryStore(path)
    remember(store, "one", "two")
    found = store.search("two", 5)
    store.close()
    altered(path, "DROP TABLE applied; PRAGMA user_version = 1")
    store = MemoryStore(path)
    assert store.store(Effect("m1", 3, "two", None), now_ms=9) == (found[0], False)
    with pytest.raises(MemoryConflict):
        remember(store, "other")
    assert store.search("two", 5) == found


def test_it_is_all_there_after_reopening(store: MemoryStore, tmp_path: Path) -> None:
    remember(store, "durable words")
    store.close()
    assert [each.text for each in MemoryStore(tmp_path / "memory.db").search("durable", 5)] == [
        "durable words"
    ]


def test_what_is_no_database_or_newer_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database at all" * 100)
    with pytest.raises(MemoryStoreUnusable):
        MemoryStore(garbage)
    with pytest.raises(MemoryStoreUnusable):
        MemoryStore(tmp_path)


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute(statement))
    finally:
        connection.close()


def altered(path: Path, statement: str) -> None:
    query(path, statement)


@pytest.mark.parametrize(("version", "said"), [(0, "already exists"), (3, "version 3")])
def test_another_version_is_refused(tmp_path: Path, version: int, said: str) -> None:
    path = tmp_path / "memory.db"
    MemoryStore(path).close()
    altered(path, f"PRAGMA user_version = {version}")
    with pytest.raises(MemoryStoreUnusable, match=said):
        MemoryStore(path)


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    MemoryStore(path).close()
    altered(
        path,
        "PRAGMA ignore_check_constraints = 1;"
        " INSERT INTO memories VALUES (1, 'm', 'text', 0, NULL, 1)",
    )
    with pytest.raises(MemoryStoreUnusable, match="damaged"):
        MemoryStore(path)


def test_a_long_query_is_cut_to_its_first_words() -> None:
    assert match_expression(" ".join(f"w{n}" for n in range(1000))).count("OR") == 63


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 1), ("word", 1), ("words", 2), ("a, b", 3), ("ü" * 4, 2)]
)
def test_token_counts(text: str, tokens: int) -> None:
    assert token_count(text) == tokens


@given(
    st.lists(st.integers(min_value=1, max_value=50), max_size=30),
    st.integers(min_value=0, max_value=200),
)
def test_a_budget_is_never_exceeded_and_order_is_kept(costs: list[int], max_tokens: int) -> None:
    ranked = [Memory(str(number), "", cost, None, 0) for number, cost in enumerate(costs)]
    found = within_budget(ranked, max_tokens)
    assert found.tokens == sum(each.tokens for each in found.items) <= max_tokens
    assert found.items == [each for each in ranked if each in found.items]
    left_out = [each for each in ranked if each not in found.items]
    assert all(each.tokens > max_tokens - found.tokens for each in left_out)

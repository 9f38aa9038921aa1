"""Turns, and what is remembered about them, with all processes there."""

from syrupy.assertion import SnapshotAssertion

from tests.service.conformance.conversation import Conversation
from tests.service.running import rows, until

LONGEST_TEXT = "t" * 32_768
WORDS = " ".join(f"w{number}" for number in range(63))
STATUS = "SELECT status FROM outbox WHERE effect_key = ?"
DELIVERED = ("delivered",)
TEA = {"text": "Tea is  made\nof leaves, water.", "memory_id": "tea"}


def test_memories(talk_to_all: Conversation, snapshot: SnapshotAssertion) -> None:
    def ask(name: str, line: str, body: object = None, **more: str | None) -> None:
        talk_to_all.ask(name, line, body, **{"who": "service", "to": "memory", **more})  # type: ignore[arg-type]

    store = "POST /internal/memories"
    ask("new", store, TEA)
    ask("again", store, TEA)
    ask("of another text", store, {**TEA, "text": "Other."})
    ask("of another session", store, {**TEA, "session_id": "x"})
    ask("without an id", store, {"text": "Coffee is no tea and no juice.", "session_id": "s-1_X"})
    ask("of no text", store, {"text": ""})
    ask("with a wrong id", store, {"text": "x", "memory_id": "a b"})
    ask("as long as allowed, and another", store, {**TEA, "text": LONGEST_TEXT})
    ask("too long", store, {"text": LONGEST_TEXT + "t", "memory_id": "long"})
    ask("for nobody", store, TEA, who=None)
    ask("for an operator", store, TEA, who="operator")
    searches: dict[str, dict[str, object]] = {
        "one": {"query": 'TEA "water" OR', "max_tokens": 100, "limit": 1},
        "without a limit": {"query": "tea", "max_tokens": 20},
        "with a small budget": {"query": "tea", "max_tokens": 19},
        "without a budget": {"query": "tea", "max_tokens": 0},
        "for many words": {"query": f"{WORDS} water", "max_tokens": 100},
        "for too many words": {"query": f"{WORDS} more water", "max_tokens": 100},
        "for nothing": {"query": "?!", "max_tokens": 100},
        "for too much": {"query": "tea", "max_tokens": 100_001, "limit": 200},
        "too far": {"query": "tea", "max_tokens": 100_000, "limit": 201},
        "as long as allowed": {"query": LONGEST_TEXT, "max_tokens": 100_000},
        "too long": {"query": LONGEST_TEXT + "t", "max_tokens": 100_000},
    }
    for name, search in searches.items():
        ask(f"search {name}", "POST /internal/memories/search", search)
    ask("routes", "GET /internal/routes")
    ask("health", "GET /healthz", who=None)
    ask("readiness", "GET /readyz", who=None)
    ask("inner readiness", "GET /internal/ready")
    labels = {"a label": "my_own-id", "too long a label": "q" * 65, "a label of signs": "my own"}
    for name, label in labels.items():
        talk_to_all.ask(
            name,
            "GET /internal/ready",
            who="service",
            to="memory",
            headers={"X-Request-Id": label},
        )
    headers = {"X-Request-Id": "my_own-id"}
    talk_to_all.ask("a label of others", "GET /readyz", who=None, to="memory", headers=headers)
    ask("methods", "OPTIONS /internal/ready")
    for query in (
        "q=tea",
        "q=coffee+water&max_tokens=9",
        "q=tea&max_tokens=100001",
        "q=tea&max_tokens=-1",
        "",
    ):
        ask(f"by the gateway, {query}", f"GET /v1/memory?{query}", who="observer", to="gateway")
    assert talk_to_all.said == snapshot


def test_memories_that_are_accepted(talk_to_all: Conversation, snapshot: SnapshotAssertion) -> None:
    talk = talk_to_all
    session = talk.ask("session", "POST /v1/sessions", {})["id"]
    accepted = [
        talk.ask("of no session", "POST /v1/memory", {"text": "Salt is a rock."}),
        talk.ask("of a session", "POST /v1/memory", {"text": "Salt.", "session_id": session}),
    ]
    for memory in accepted:
        until(lambda: DELIVERED in rows(talk.state, STATUS, memory["id"]))  # noqa: B023 - over before the next
        talk.ask("delivered", f"GET /v1/memory/{memory['id']}", who="observer")
    talk.ask("found", "GET /v1/memory?q=rock", who="observer")
    talk.ask("unknown", "GET /v1/memory/mem_none", who="observer")
    talk.ask("of an unknown session", "POST /v1/memory", {"text": "x", "session_id": "none"})
    talk.ask("ended", f"DELETE /v1/sessions/{session}")
    talk.ask("of one that is over", "POST /v1/memory", {"text": "x", "session_id": session})
    talk.ask("of no text", "POST /v1/memory", {"text": ""})
    talk.ask("too long", "POST /v1/memory", {"text": LONGEST_TEXT + "t"})
    talk.ask("for an observer", "POST /v1/memory", {"text": "x"}, who="observer")
    talk.stored("SELECT aggregate, kind, status FROM outbox ORDER BY seq")
    talk.stored(
        "SELECT action, actor_role, target, effect_table, detail FROM audit"
        " WHERE action LIKE 'memory%' ORDER BY (SELECT seq FROM outbox WHERE effect_key = effect_id), seq"
    )
    assert talk.said == snapshot


def test_the_model(talk_to_all: Conversation, snapshot: SnapshotAssertion) -> None:
    def ask(name: str, body: object, who: str | None = "service") -> None:
        talk_to_all.ask(name, "POST /internal/chat/completions", body, who=who, to="model")

    one = {"role": "user", "content": "one"}
    remembered = "What is remembered, most relevant first:\n- two\n- three"
    ask(
        "of three",
        {
            "messages": [
                one,
                {"role": "system", "content": remembered},
                {"role": "user", "content": " four "},
            ]
        },
    )
    ask(
        "without a question", {"model": "other", "messages": [{"role": "system", "content": "two"}]}
    )
    ask("without a message", {"messages": []})
    ask("as many as allowed", {"messages": [one] * 256})
    ask("too many", {"messages": [one] * 257})
    ask("as long as allowed", {"messages": [{"role": "user", "content": LONGEST_TEXT * 8}]})
    ask("too long", {"messages": [{"role": "user", "content": LONGEST_TEXT * 8 + "t"}]})
    ask("within no tokens", {"messages": [one], "max_tokens": 0})
    ask("in no role", {"messages": [{"role": "tool", "content": "one"}]})
    ask("for nobody", {"messages": [one]}, None)
    talk_to_all.ask("routes", "GET /internal/routes", who="service", to="model")
    assert talk_to_all.said == snapshot


def test_turns(talk_to_all: Conversation, snapshot: SnapshotAssertion) -> None:
    talk = talk_to_all
    ink = {"text": "Ink is  made\nof soot.", "memory_id": "ink"}
    talk.ask("remembered", "POST /internal/memories", ink, who="service", to="memory")
    talk.told.clear()
    talk.ask("readiness", "GET /readyz", who=None)
    session = talk.ask("session", "POST /v1/sessions", {})["id"]
    talk.ask("about soot", "POST /v1/turn", {"text": "Why  soot\nnow?", "session_id": session})
    talk.ask("about nothing known", "POST /v1/turn", {"text": "hello"})
    talk.ask("with a quote", "POST /v1/turn", {"text": "q" * 400})
    talk.ask("with a longer quote", "POST /v1/turn", {"text": "q" * 401})
    talk.ask("as long as allowed", "POST /v1/turn", {"text": LONGEST_TEXT})
    talk.ask("too long", "POST /v1/turn", {"text": LONGEST_TEXT + "t"})
    talk.ask("without a word", "POST /v1/turn", {"text": ""})
    talk.ask("of no text", "POST /v1/turn", {"session_id": None})
    talk.ask("of no JSON", "POST /v1/turn", b"{")
    for number in range(21):
        plenty = {"text": "plenty" + " a" * 30, "memory_id": f"plenty-{number}"}
        talk.ask("", "POST /internal/memories", plenty, who="service", to="memory")
        talk.told.pop()
    found = [
        talk.ask("plenty", "POST /v1/turn", {"text": "plenty"})["memories"],
        talk.ask("plenty found", "GET /v1/memory?q=plenty", who="observer")["items"],
        talk.ask("within much", "GET /v1/memory?q=plenty&max_tokens=100000", who="observer")[
            "items"
        ],
    ]
    del talk.told[-3:]
    counts = [len(memories) for memories in found]
    talk.stored(
        "SELECT session_id, at_ms, substr(text, 1, 20), length(text), substr(answer, 1, 60), degraded FROM turns ORDER BY seq"
    )
    assert [counts, talk.said] == snapshot

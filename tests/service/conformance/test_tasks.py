"""Tasks and keys of idempotency: each answer, word by word."""

from syrupy.assertion import SnapshotAssertion

from tests.service.conformance.conversation import Conversation

LONGEST_KIND = "k" * 100
LONGEST_KEY = "i" * 255
LONGEST_BODY = 1_000_000


def test_tasks(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    other = talk.ask("another operator", "POST /v1/tokens", {"role": "operator"})["token"]
    session = talk.ask("session", "POST /v1/sessions", {})["id"]
    note = {"kind": "note", "payload": {"b": [1, None, "é"], "a": {"c": 1.5}}}
    first = talk.ask("task", "POST /tasks", {**note, "session_id": session})["id"]
    talk.ask("under its other path", "POST /v1/tasks", {"kind": LONGEST_KIND}, who=other)
    talk.ask("of too long a kind", "POST /tasks", {"kind": LONGEST_KIND + "k"})
    talk.ask("of no kind", "POST /tasks", {"kind": ""})
    talk.ask("without a kind", "POST /tasks", {"payload": {}})
    talk.ask("of no JSON", "POST /tasks", b"{")
    talk.ask("in no session", "POST /tasks", {"kind": "note", "session_id": "ses_none"})
    talk.ask("shown", f"GET /tasks/{first}", who="observer")
    talk.ask("none", "GET /v1/tasks/task_none", who="observer")
    talk.ask("cancelled", f"POST /tasks/{first}/cancel", who=other)
    talk.ask("cancelled again", f"POST /v1/tasks/{first}/cancel")
    talk.ask("none cancelled", "POST /v1/tasks/task_none/cancel")
    talk.ask("listed", "GET /tasks", who="observer")
    talk.ask("listed on", "GET /v1/tasks?cursor=1", who="observer")
    talk.stored("SELECT * FROM tasks ORDER BY seq")
    assert talk.said == snapshot


def test_keys_of_idempotency(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    def keyed(name: str, line: str, body: object, key: str, who: str = "operator") -> None:
        talk.ask(name, line, body, who=who, headers={"Idempotency-Key": key})

    other = talk.ask("another operator", "POST /v1/tokens", {"role": "operator"})["token"]
    task = {"kind": "keyed"}
    keyed("keyed", "POST /tasks", task, "once")
    keyed("again", "POST /tasks", task, "once")
    keyed("by another", "POST /tasks", task, "once", other)
    keyed("elsewhere", "POST /v1/tasks", task, "once")
    keyed("with another body", "POST /tasks", {"kind": "other"}, "once")
    keyed("with another query", "POST /tasks?q=1", task, "once")
    keyed("refusal", "POST /tasks", {"kind": ""}, LONGEST_KEY)
    keyed("refusal again", "POST /tasks", {"kind": ""}, LONGEST_KEY)
    keyed("key too long", "POST /tasks", task, LONGEST_KEY + "i")
    keyed("key with a space", "POST /tasks", task, "on ce")
    keyed("no key", "POST /tasks", task, "")
    for name in ("secret", "secret again"):
        keyed(name, "POST /v1/tokens", {"role": "observer", "name": "keyed"}, "secret")
    for name in ("no secret", "no secret again"):
        keyed(name, "POST /v1/tokens", {"role": "auditor"}, "auditor")
    largest = b'{"kind":"large","x":"' + b"t" * (LONGEST_BODY - 23) + b'"}'
    assert len(largest) == LONGEST_BODY
    keyed("body as large as allowed", "POST /tasks", largest, "large")
    keyed("body too large", "POST /tasks", largest + b" ", "larger")
    talk.ask("without a key as large as allowed", "POST /tasks", largest)
    talk.ask("without a key too large", "POST /tasks", largest + b" ")
    talk.stored(
        "SELECT substr(key, 1, 8), length(key), route, actor_id, payload_sha256, state, status, headers,"
        " length(body) FROM idempotency ORDER BY route, key, payload_sha256, actor_id = (SELECT max(id) FROM tokens WHERE name = 'bootstrap operator')"
    )
    assert talk.said == snapshot

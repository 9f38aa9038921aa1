"""Sessions: each answer, word by word."""

from syrupy.assertion import SnapshotAssertion

from tests.service.conformance.conversation import Conversation


def test_sessions(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    other = talk.ask("another operator", "POST /v1/tokens", {"role": "operator"})["token"]
    first = talk.ask("session", "POST /v1/sessions", {"label": "first", "ttl_s": 60})["id"]
    talk.ask("without a body", "POST /v1/sessions", who=other)
    talk.ask("as long as allowed", "POST /v1/sessions", {"label": "long", "ttl_s": 2_592_000})
    talk.ask("too long", "POST /v1/sessions", {"ttl_s": 2_592_000.001})
    talk.ask("of no length", "POST /v1/sessions", {"ttl_s": 0})
    talk.ask("with a wrong label", "POST /v1/sessions", {"label": 1})
    brief = talk.ask("brief", "POST /v1/sessions", {"label": "brief", "ttl_s": 0.002})["id"]
    talk.ask("shown", f"GET /v1/sessions/{first}", who="observer")
    talk.ask("none", "GET /v1/sessions/ses_none", who="observer")
    talk.ask("listed", "GET /v1/sessions?limit=2", who="observer")
    talk.ask("listed on", "GET /v1/sessions?limit=1&cursor=2", who="observer")
    talk.ask("listed to the end", "GET /v1/sessions?limit=1&cursor=3", who="observer")
    talk.ask("listed beyond", "GET /v1/sessions?cursor=999999999999999999", who="observer")
    talk.ask("cursor too long", "GET /v1/sessions?cursor=1234567890123456789", who="observer")
    talk.ask("cursor that is none", "GET /v1/sessions?cursor=-1", who="observer")
    talk.ask("cursor in other digits", "GET /v1/sessions?cursor=%C2%B2", who="observer")
    talk.ask("turn in it", "POST /v1/turn", {"text": "hello", "session_id": first})
    talk.ask("shown after a turn", f"GET /v1/sessions/{first}", who="observer")
    talk.ask("closed", f"DELETE /v1/sessions/{first}", who=other)
    talk.ask("closed again", f"DELETE /v1/sessions/{first}")
    talk.ask("closed too late", f"DELETE /v1/sessions/{brief}")
    talk.ask("none closed", "DELETE /v1/sessions/ses_none")
    talk.ask("closed one shown", f"GET /v1/sessions/{first}", who="observer")
    for name, session in (("a closed one", first), ("one that is over", brief), ("none", "ses_0")):
        talk.ask(f"turn in {name}", "POST /v1/turn", {"text": "hello", "session_id": session})
        talk.ask(f"task in {name}", "POST /tasks", {"kind": "note", "session_id": session})
        call = {"arguments": {"path": "a", "content": "x"}, "session_id": session}
        talk.ask(f"tool in {name}", "POST /v1/tools/file.write/execute", call)
    talk.stored("SELECT *, expires_at_ms - created_at_ms FROM sessions ORDER BY seq")
    assert talk.said == snapshot


def test_lists_stop_at_fifty_and_pages_have_bounds(
    talk: Conversation, snapshot: SnapshotAssertion
) -> None:
    for number in range(51):
        talk.ask("one of many", "POST /v1/sessions", {"label": str(number)})
    talk.told.clear()
    page = talk.ask("many", "GET /v1/sessions")
    assert ([each["label"] for each in page["items"]], page["next_cursor"]) == (
        [str(number) for number in range(50)],
        "50",
    )
    talk.told.clear()
    for path in ("/v1/sessions", "/tasks", "/v1/confirmations", "/v1/audit", "/v1/events"):
        for limit in (0, 201):
            talk.ask(f"{path}, {limit}", f"GET {path}?limit={limit}", who="observer")
        assert (
            talk.ask("the longest page", f"GET {path}?limit=200", who="observer")["items"]
            is not None
        )
        talk.told.pop()
    assert talk.said == snapshot

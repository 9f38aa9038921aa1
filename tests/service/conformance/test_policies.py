"""Policies: which version is changed, and what that changes."""

from syrupy.assertion import SnapshotAssertion

from tests.service.conformance.conversation import Conversation


def test_policies(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    def put(
        name: str, version: str | None, policy: str = "guarded_low", decision: str = "deny"
    ) -> None:
        headers = {} if version is None else {"If-Match": version}
        talk.ask(name, f"PUT /v1/policies/{policy}", {"decision": decision}, headers=headers)

    talk.ask("listed", "GET /v1/policies", who="observer")
    put("without a version", None)
    put("at another version", '"2"')
    put("at no version", "1")
    put("at too long a version", '"1000000000000000001"')
    put("at a long version", '"100000000000000001"')
    put("none", '"1"', policy="none")
    put("no such decision", '"1"', decision="perhaps")
    put("set", '"1"')
    call = {"arguments": {"path": "kept.txt", "content": "x"}}
    talk.ask("a tool that it forbids", "POST /v1/tools/file.write/execute", call)
    talk.ask("tools", "GET /v1/tools", who="observer")
    put("set back", '"2"', decision="allow")
    talk.ask("listed after that", "GET /v1/policies", who="observer")
    talk.stored("SELECT * FROM policies ORDER BY name")
    assert talk.said == snapshot

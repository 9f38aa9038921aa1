"""Tokens: issued, rotated, revoked, and what of them is told and stored."""

import json

from syrupy.assertion import SnapshotAssertion

from tests.service.conformance.conversation import Conversation, command

LONGEST_NAME = "n" * 100


def test_tokens(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    other = talk.ask("another operator", "POST /v1/tokens", {"role": "operator"})["token"]
    new = {"role": "observer", "name": LONGEST_NAME, "ttl_s": 315_360_000}
    issued = talk.ask("issued", "POST /v1/tokens", new)
    path, first = f"/v1/tokens/{issued['id']}", issued["token"]
    talk.ask("too long a name", "POST /v1/tokens", {**new, "name": LONGEST_NAME + "n"})
    talk.ask("no role", "POST /v1/tokens", {"role": "auditor"})
    talk.ask("without a role", "POST /v1/tokens", {"name": "x"})
    talk.ask("for too long", "POST /v1/tokens", {"role": "observer", "ttl_s": 315_360_000.1})
    talk.ask("for no time", "POST /v1/tokens", {"role": "observer", "ttl_s": 0})
    brief = talk.ask("brief", "POST /v1/tokens", {"role": "observer", "ttl_s": 0.002})
    talk.ask("used", "GET /v1/tasks", who=first)
    second = talk.ask("rotated", f"POST {path}/rotate", who=other)["token"]
    third = talk.ask("with a window", f"POST {path}/rotate", {"window_s": 86_400})["token"]
    talk.ask("too long a window", f"POST {path}/rotate", {"window_s": 86_400.1})
    talk.ask("less than no window", f"POST {path}/rotate", {"window_s": -0.1})
    for name, secret in (("first secret", first), ("second", second), ("third", third)):
        talk.ask(name, "GET /v1/tasks", who=secret)
    talk.ask("listed", "GET /v1/tokens", who="observer", sort="name")
    talk.ask("revoked", f"DELETE {path}", who=other)
    talk.ask("revoked again", f"DELETE {path}")
    talk.ask("rotated too late", f"POST {path}/rotate")
    talk.ask("revoked too late", f"DELETE /v1/tokens/{brief['id']}")
    talk.ask("none revoked", "DELETE /v1/tokens/tok_none")
    talk.ask("none rotated", "POST /v1/tokens/tok_none/rotate")
    talk.ask("revoked one used", "GET /v1/tasks", who=third)
    talk.ask("expired one used", "GET /v1/tasks", who=brief["token"])
    talk.ask("listed after that", "GET /v1/tokens", who="observer", sort="name")
    talk.stored("SELECT * FROM tokens ORDER BY name, created_at_ms")
    talk.stored(
        "SELECT name, length(sha256), token_secrets.created_at_ms, token_secrets.expires_at_ms FROM token_secrets"
        " JOIN tokens ON tokens.id = token_id ORDER BY name, token_secrets.created_at_ms"
    )
    assert talk.said == snapshot


def test_refusals(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    """What is wrong with a token is not told: all wrong ones are answered alike, and logged apart."""
    live = talk.state.operator
    other = talk.ask("another", "POST /v1/tokens", {"role": "observer"})["token"]
    wrong = {
        "no token": "x",
        "unknown": "tok_0." + "A" * 43,
        "truncated": live[:-1],
        "extended": live + "A",
        "another's secret": other.split(".")[0] + "." + live.split(".")[1],
    }
    for name, token in wrong.items():
        talk.ask(name, "POST /tasks", {"kind": "note"}, who=token)
    talk.ask("nobody", "POST /tasks", {"kind": "note"}, who=None)
    talk.ask("an observer", "POST /tasks", {"kind": "note"}, who="observer")
    for name in ("Basic", "bearer", "Bearer ", ""):
        headers = {"Authorization": f"{name} {live}"}
        talk.ask(f"scheme {name!r}", "GET /tasks", who=None, headers=headers)
    talk.await_denied(9)
    talk.stored(
        "SELECT at_ms, actor_id, actor_role, action, route, method, target, outcome, detail FROM audit"
        " WHERE outcome = 'denied' ORDER BY seq"
    )
    assert talk.said == snapshot


def test_commands(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    """Tokens are made and ended by command too, beside a running gateway."""
    talk.sonia(
        "issued", "token", "issue", "--role", "observer", "--name", "by command", "--ttl", "1h"
    )
    talk.sonia("for a program", "token", "issue", "--role", "operator", "--json")
    listed = talk.ask("listed", "GET /v1/tokens", sort="name")["items"]
    token_id = next(each["id"] for each in listed if each["name"] == "by command")
    talk.sonia("rotated", "token", "rotate", token_id, "--window", "5m")
    talk.sonia("rotated for a program", "token", "rotate", token_id, "--json")
    place = ("--state", str(talk.state.directory.root))
    told = json.loads(command("token", "list", "--json", *place)[1])
    assert told == talk.ask("listed after that", "GET /v1/tokens", sort="name") or told
    talk.told += sorted(map(talk.normal.text, command("token", "list", *place)[1].splitlines()))
    talk.sonia("revoked", "token", "revoke", token_id)
    talk.sonia("revoked again", "token", "revoke", token_id)
    talk.sonia("none revoked", "token", "revoke", "tok_none")
    talk.sonia("none rotated", "token", "rotate", "tok_none")
    talk.stored(
        "SELECT actor_id, actor_role, action, route, method, target, outcome, detail FROM audit ORDER BY seq"
    )
    assert talk.said == snapshot

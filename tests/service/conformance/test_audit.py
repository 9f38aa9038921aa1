"""The audit log: each row as it is told and stored, and what verifying says of a log that was tampered with."""

import shutil
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.service.conformance.conversation import Conversation
from tests.service.running import State, alter, new_state

TAMPERED = {
    "another actor": "UPDATE audit SET actor_id = actor_id || 'x' WHERE seq = 3",
    "another role": "UPDATE audit SET actor_role = actor_role || 'x' WHERE seq = 3",
    "another outcome": "UPDATE audit SET outcome = 'denied' WHERE seq = 3",
    "another time": "UPDATE audit SET at_ms = at_ms + 1 WHERE seq = 3",
    "another effect": "UPDATE audit SET effect_id = coalesce(effect_id, '') || 'x' WHERE seq = 3",
    "another detail": "UPDATE audit SET detail = '{\"x\":1}' WHERE seq = 3",
    "a row removed": "DELETE FROM audit WHERE seq = 3",
    "removed and renumbered": "DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = seq - 1 WHERE seq > 3",
    "the last row removed": "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
    "all rows removed": "DELETE FROM audit WHERE true",
    "two rows swapped": "UPDATE audit SET seq = -seq WHERE seq IN (3, 4); UPDATE audit SET seq = 7 + seq WHERE seq < 0",
    "a row repeated": (
        "INSERT INTO audit SELECT seq + 1, at_ms, request_id, actor_id, actor_role, action, route, method, target,"
        " outcome, effect_table, effect_id, detail, hmac, hmac FROM audit ORDER BY seq DESC LIMIT 1"
    ),
}


def test_every_kind_of_row(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    session = talk.ask("session", "POST /v1/sessions", {"label": "x"})["id"]
    talk.ask("turn", "POST /v1/turn", {"text": "hello", "session_id": session})
    talk.ask("session closed", f"DELETE /v1/sessions/{session}")
    task = talk.ask("task", "POST /tasks", {"kind": "note"})["id"]
    talk.ask("task cancelled", f"POST /v1/tasks/{task}/cancel")
    call = {"arguments": {"command": "true"}}
    asked = talk.ask("question", "POST /v1/tools/shell.run/execute", call)
    deny = {"confirmation_id": asked["confirmation_id"], "decision": "deny"}
    talk.ask("denied", "POST /approve", deny)
    asked = talk.ask("second question", "POST /v1/tools/shell.run/execute", call)
    approve = {key: asked[key] for key in ("confirmation_id", "args_sha256")} | {
        "decision": "approve"
    }
    talk.ask("approved, and nobody to run it", "POST /v1/approve", approve)
    talk.ask(
        "policy", "PUT /v1/policies/guarded_low", {"decision": "deny"}, headers={"If-Match": '"1"'}
    )
    write = {"arguments": {"path": "a", "content": "x"}}
    talk.ask("forbidden tool", "POST /v1/tools/file.write/execute", write)
    token = talk.ask("token", "POST /v1/tokens", {"role": "observer", "name": "x", "ttl_s": 3600})[
        "id"
    ]
    talk.ask("token rotated", f"POST /v1/tokens/{token}/rotate", {"window_s": 60})
    talk.ask("token revoked", f"DELETE /v1/tokens/{token}")
    talk.ask("nobody", "POST /tasks", {"kind": "note"}, who=None)
    talk.ask("an observer", "POST /tasks", {"kind": "note"}, who="observer")
    talk.ask("confirmations", "GET /v1/confirmations", who="observer")
    talk.await_denied(2)
    talk.ask("the log", "GET /v1/audit?cursor=2", who="observer")
    talk.ask("a page of it", "GET /v1/audit?limit=2&cursor=5", who="observer")
    talk.ask("events", "GET /v1/events?limit=3", who="observer")
    talk.ask("events after one", "GET /v1/events?after=7&limit=2", who="observer")
    talk.ask("events before the first", "GET /v1/events?after=-1", who="observer")
    talk.ask("verified", "GET /v1/audit/verify", who="observer")
    talk.sonia("verified by command", "audit", "verify")
    talk.sonia("for a program", "audit", "verify", "--json")
    talk.stored(
        "SELECT seq, at_ms, request_id, actor_id, actor_role, action, route, method, target, outcome, effect_table,"
        " effect_id, detail FROM audit WHERE seq > 2 ORDER BY seq"
    )
    assert talk.said == snapshot


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> State:
    """A state with six rows in its log."""
    state = new_state(tmp_path_factory.mktemp("logged") / "state")
    talk = Conversation(state, {})
    for name in ("c", "d", "e", "f"):
        talk.sonia(name, "token", "issue", "--role", "observer", "--name", name)
    return state


def test_tampering_is_told_row_by_row(
    logged: State, tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    talk = Conversation(logged, {})
    talk.sonia("sound", "audit", "verify")
    for name, statement in TAMPERED.items():
        copy = tmp_path / name.replace(" ", "-")
        shutil.copytree(logged.directory.root, copy)
        state = State(type(logged.directory)(copy), logged.operator, logged.observer)
        alter(state, statement)
        verifying = Conversation(state, {})
        verifying.sonia(name, "audit", "verify")
        verifying.sonia(f"{name}, at a start", "doctor")
        talk.told += verifying.told
    copy = tmp_path / "checkpoints"
    shutil.copytree(logged.directory.root, copy)
    (copy / "audit.checkpoints").unlink()
    bare = Conversation(State(type(logged.directory)(copy), "", ""), {})
    bare.sonia("no checkpoints", "audit", "verify")
    bare.sonia("no checkpoints, for a program", "audit", "verify", "--json")
    talk.told += bare.told
    assert talk.said == snapshot

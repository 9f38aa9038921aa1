"""Tool calls through the gate, into a real workspace."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.running import Answer, State, rows, running, until
from tests.service.stack import Stack, running_stack


@pytest.fixture(autouse=True)
def healed(stack: Stack) -> Iterator[None]:
    yield
    stack.links["tools"].heal()
    stack.await_up("tools")


def execute(stack: Stack, name: str, body: object) -> Answer:
    return stack.gateway.operator("POST", f"/v1/tools/{name}/execute", body)


def set_policy(stack: Stack, name: str, decision: str) -> None:
    listed = stack.gateway.operator("GET", "/v1/policies").json["items"]
    version = next(each["version"] for each in listed if each["name"] == name)
    changed = stack.gateway.operator(
        "PUT", f"/v1/policies/{name}", {"decision": decision}, If_Match=f'"{version}"'
    )
    assert changed.status == 200


def status_of_run(stack: Stack, request_id: str) -> list[str]:
    found = rows(
        stack.gateway.state, "SELECT status FROM tool_runs WHERE request_id = ?", request_id
    )
    return [status for (status,) in found]


def workspace_names(stack: Stack) -> set[str]:
    return {each.name for each in (stack.gateway.state.directory.root / "workspace").iterdir()}


def test_the_list_says_what_there_is(stack: Stack) -> None:
    items = stack.gateway.call("GET", "/v1/tools", stack.gateway.state.observer).json["items"]
    assert {each["name"]: (each["safety"], each["policy"]) for each in items} == {
        "file.read": ("safe_read", "allow"),
        "file.write": ("guarded_low", "allow"),
        "shell.run": ("guarded_high", "confirm"),
    }


def test_an_allowed_tool_runs_at_once(stack: Stack) -> None:
    written = execute(
        stack, "file.write", {"arguments": {"path": "a", "content": "hi"}, "actor": "x"}
    )
    assert (written.status, written.json["status"]) == (200, "succeeded")
    read = execute(stack, "file.read", {"arguments": {"path": "a"}})
    assert read.json["result"]["content"] == "hi"
    request_id = written.headers["x-request-id"]
    assert status_of_run(stack, request_id) == ["succeeded"]
    audited = rows(
        stack.gateway.state,
        "SELECT action, actor_id, outcome FROM audit WHERE request_id = ? ORDER BY seq",
        request_id,
    )
    operator_id = stack.gateway.state.operator.partition(".")[0]
    assert audited == [
        ("tool.execute", operator_id, "allowed"),
        ("tool.end", "system:tools", "system"),
    ]


def test_a_guarded_tool_waits_and_runs_its_very_arguments_once(stack: Stack) -> None:
    asked = execute(stack, "shell.run", {"arguments": {"command": "echo once >> log"}})
    assert (asked.status, asked.json["status"]) == (202, "confirmation_required")
    assert asked.headers["location"] == f"/v1/confirmations/{asked.json['confirmation_id']}"
    assert "log" not in workspace_names(stack)
    decision = {
        "confirmation_id": asked.json["confirmation_id"],
        "decision": "approve",
        "args_sha256": asked.json["args_sha256"],
    }
    approved = stack.gateway.operator("POST", "/approve", decision)
    assert (approved.status, approved.json["run"]["status"]) == (200, "succeeded")
    assert stack.gateway.operator("POST", "/approve", decision).status == 409
    log = stack.gateway.state.directory.root / "workspace" / "log"
    assert log.read_text() == "once\n"


def test_a_denied_class_never_runs(stack: Stack) -> None:
    set_policy(stack, "guarded_low", "deny")
    try:
        denied = execute(stack, "file.write", {"arguments": {"path": "denied", "content": "x"}})
    finally:
        set_policy(stack, "guarded_low", "allow")
    assert (denied.status, denied.json["code"]) == (403, "policy_denied")
    assert "denied" not in workspace_names(stack)
    assert status_of_run(stack, denied.headers["x-request-id"]) == []
    audited = rows(
        stack.gateway.state,
        "SELECT outcome FROM audit WHERE request_id = ?",
        denied.headers["x-request-id"],
    )
    assert audited == [("denied",)]


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("file.delete", {"arguments": {}}, 404, "unknown_tool"),
        ("file.read", {"arguments": {}}, 422, "bad_arguments"),
        ("file.read", {"arguments": {"path": "a", "x": 1}}, 422, "bad_arguments"),
        ("file.read", {"arguments": {"path": "../keys.json"}}, 403, "path_outside_workspace"),
        ("file.read", {"arguments": {"path": "a"}, "session_id": "ses_none"}, 404, "not_found"),
        ("file.read", {}, 400, "invalid_request"),
    ],
)
def test_calls_that_are_refused(
    stack: Stack, name: str, body: object, status: int, code: str
) -> None:
    refused = execute(stack, name, body)
    assert (refused.status, refused.json["code"]) == (status, code)


def test_a_failed_tool_is_told_as_such(stack: Stack) -> None:
    failed = execute(stack, "file.read", {"arguments": {"path": "no/such/file"}})
    assert (failed.status, failed.json["status"], failed.json["error_code"]) == (
        200,
        "failed",
        "not_found",
    )


def test_with_the_tools_cut_off_nothing_runs_and_it_says_so(stack: Stack) -> None:
    stack.links["tools"].cut()
    refused = execute(stack, "file.write", {"arguments": {"path": "cut", "content": "x"}})
    assert (refused.status, refused.json["code"]) == (503, "tools_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert status_of_run(stack, refused.headers["x-request-id"]) == ["failed"]
    assert "cut" not in workspace_names(stack)


def test_an_answer_that_was_lost_is_for_an_operator_and_is_not_tried_again(stack: Stack) -> None:
    set_policy(stack, "guarded_high", "allow")
    arguments = {"command": "echo run >> lost; while [ ! -e go ]; do sleep 0.02; done"}
    log = stack.gateway.state.directory.root / "workspace" / "lost"
    try:
        with ThreadPoolExecutor(1) as thread:
            lost_call = thread.submit(execute, stack, "shell.run", {"arguments": arguments})
            until(log.exists)
            stack.links["tools"].cut()
            lost = lost_call.result()
    finally:
        set_policy(stack, "guarded_high", "confirm")
        log.with_name("go").touch()
    assert (lost.status, lost.json["code"]) == (504, "tool_outcome_unknown")
    assert status_of_run(stack, lost.headers["x-request-id"]) == ["needs_operator"]
    assert log.read_text() == "run\n"


def test_a_run_that_kill_interrupted_is_for_an_operator_after_the_restart(state: State) -> None:
    arguments = {"command": "echo run >> log; while [ ! -e go ]; do sleep 0.02; done"}
    log = state.directory.root / "workspace" / "log"
    with running_stack(state) as stack, ThreadPoolExecutor(1) as thread:
        set_policy(stack, "guarded_high", "allow")
        running_call = thread.submit(execute, stack, "shell.run", {"arguments": arguments})
        until(log.exists)
        stack.gateway.kill()
        with pytest.raises(ConnectionError):
            running_call.result()
        log.with_name("go").touch()
    with running(state):
        assert rows(state, "SELECT status FROM tool_runs") == [("needs_operator",)]
        audited = rows(
            state, "SELECT actor_id, outcome FROM audit WHERE action = 'tool.interrupted'"
        )
        assert audited == [("system:tools", "system")]
    assert log.read_text() == "run\n"

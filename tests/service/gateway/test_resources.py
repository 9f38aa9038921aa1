"""Sessions, tasks, policies, events and the audit log over HTTP."""

import pytest

from tests.service.running import Gateway, State, new_state, rows, running, until


def test_a_session_from_opening_to_closing(gateway: Gateway) -> None:
    made = gateway.operator("POST", "/v1/sessions", {"label": "kitchen", "ttl_s": 60})
    assert made.status == 201
    assert made.json["status"] == "open"
    assert made.json["expires_at_ms"] - made.json["created_at_ms"] == 60_000
    path = made.headers["location"]
    assert gateway.operator("GET", path).json == made.json
    assert gateway.operator("DELETE", path).status == 204
    assert gateway.operator("GET", path).json["status"] == "closed"
    assert gateway.operator("DELETE", path).json["code"] == "session_over"
    turn = {"text": "hello", "session_id": made.json["id"]}
    assert gateway.operator("POST", "/v1/turn", turn).status == 409


def test_a_session_ends_by_itself(gateway: Gateway) -> None:
    made = gateway.operator("POST", "/v1/sessions", {"ttl_s": 0.1}).json
    until(lambda: gateway.operator("GET", f"/v1/sessions/{made['id']}").json["status"] == "expired")
    turn = {"text": "hello", "session_id": made["id"]}
    assert gateway.operator("POST", "/v1/turn", turn).json["code"] == "session_over"


def test_turns_are_counted_with_their_session(gateway: Gateway) -> None:
    made = gateway.operator("POST", "/v1/sessions", {}).json
    for _ in range(3):
        turn = gateway.operator("POST", "/v1/turn", {"text": "x", "session_id": made["id"]})
        assert turn.status == 200
        assert turn.json["degraded"]
    assert gateway.operator("GET", f"/v1/sessions/{made['id']}").json["turn_count"] == 3


@pytest.mark.parametrize("ttl_s", [0, -1, 1e12, "x"])
def test_a_session_without_a_sensible_end_is_refused(gateway: Gateway, ttl_s: object) -> None:
    assert gateway.operator("POST", "/v1/sessions", {"ttl_s": ttl_s}).status == 400


def test_the_longest_session_is_told_in_plain_digits(gateway: Gateway) -> None:
    refused = gateway.operator("POST", "/v1/sessions", {"ttl_s": 0}).json
    assert refused["detail"] == "ttl_s is between 0 and 2592000"


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_a_task_from_creation_to_cancelling(gateway: Gateway, prefix: str) -> None:
    made = gateway.operator(
        "POST", f"{prefix}/tasks", {"kind": "sweep", "payload": {"where": ["hall"]}, "actor": "eve"}
    )
    assert made.status == 201
    assert made.json["status"] == "queued"
    assert made.json["created_by"] == gateway.state.operator.split(".")[0]
    assert made.json["payload"] == {"where": ["hall"]}
    assert gateway.operator("GET", made.headers["location"]).json == made.json
    path = f"{prefix}/tasks/{made.json['id']}"
    cancelled = gateway.operator("POST", f"{path}/cancel")
    assert cancelled.status == 200
    assert cancelled.json["status"] == "cancelled"
    again = gateway.operator("POST", f"{path}/cancel")
    assert again.status == 409
    assert again.json["code"] == "task_over"


@pytest.mark.parametrize("method_path", [("GET", "/tasks/x"), ("POST", "/tasks/x/cancel")])
def test_an_unknown_task_is_404(gateway: Gateway, method_path: tuple[str, str]) -> None:
    answer = gateway.operator(*method_path)
    assert (answer.status, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "body", [None, {}, {"kind": ""}, {"kind": 1}, {"kind": "x", "payload": []}, [1]]
)
def test_a_task_that_cannot_be_read_is_400(gateway: Gateway, body: object) -> None:
    answer = gateway.operator("POST", "/tasks", body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_lists_come_in_pages(state: State) -> None:
    with running(state) as gateway:
        made = [gateway.operator("POST", "/tasks", {"kind": str(n)}).json["id"] for n in range(5)]
        seen: list[str] = []
        cursor = ""
        while True:
            page = gateway.operator("GET", f"/tasks?limit=2{cursor}").json
            seen += [task["id"] for task in page["items"]]
            assert len(page["items"]) <= 2
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == made
        for query in ("limit=0", "limit=201", "limit=x", "cursor=x", "cursor=-1"):
            assert gateway.operator("GET", f"/tasks?{query}").status == 400, query


def test_a_policy_is_replaced_only_as_it_was_seen(gateway: Gateway) -> None:
    def put(version: str | None, decision: str = "deny") -> object:
        headers = {} if version is None else {"If_Match": version}
        return gateway.operator(
            "PUT", "/v1/policies/safe_read", {"decision": decision}, **headers
        ).status

    assert put(None) == 428
    assert put('"7"') == 412
    assert put("x") == 400
    assert put('"1"', "maybe") == 400
    assert put('"1"') == 200
    assert put('"1"') == 412
    policies = gateway.operator("GET", "/v1/policies").json["items"]
    assert {policy["name"]: policy["decision"] for policy in policies}["safe_read"] == "deny"
    missing = gateway.operator("PUT", "/v1/policies/none", {"decision": "deny"}, If_Match='"1"')
    assert missing.status == 404


def test_every_effect_has_one_audit_row_with_the_request_id_the_caller_saw(
    gateway: Gateway,
) -> None:
    made = gateway.operator("POST", "/tasks", {"kind": "x"})
    request_id = made.headers["x-request-id"]
    found = [row for row in all_pages(gateway, "/v1/audit") if row["request_id"] == request_id]
    assert len(found) == 1
    assert found[0]["effect_table"] == "tasks"
    assert found[0]["effect_id"] == made.json["id"]
    assert found[0]["actor_id"] == gateway.state.operator.split(".")[0]
    assert found[0]["actor_role"] == "operator"
    assert found[0]["route"] == "/tasks"
    assert rows(gateway.state, "SELECT request_id FROM tasks WHERE id = ?", made.json["id"]) == [
        (request_id,)
    ]


def all_pages(gateway: Gateway, path: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    cursor = ""
    while True:
        page = gateway.operator("GET", f"{path}?limit=200{cursor}").json
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_events_follow_one_another(gateway: Gateway) -> None:
    before = rows(gateway.state, "SELECT max(seq) FROM audit")[0][0]
    made = gateway.operator("POST", "/tasks", {"kind": "x"}).json
    gateway.operator("POST", f"/tasks/{made['id']}/cancel")
    events = gateway.operator("GET", f"/v1/events?after={before}").json["items"]
    assert [(event["type"], event["id"]) for event in events] == [
        ("task.create", made["id"]),
        ("task.cancel", made["id"]),
    ]
    after = gateway.operator("GET", f"/v1/events?after={events[0]['seq']}").json["items"]
    assert after == events[1:]


def test_storage_is_reported_by_the_writer(gateway: Gateway) -> None:
    report = gateway.call("GET", "/v1/storage").json
    assert report["journal_mode"] == "wal"
    assert report["synchronous"] == 2
    assert report["foreign_keys"] == 1


def test_metrics_count(gateway: Gateway) -> None:
    assert gateway.call("GET", "/healthz").status == 200
    answer = gateway.call("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert 'sonia_http_answers_total{status="200"}' in text
    assert "sonia_storage_waiting 0" in text


def test_reading_changes_nothing(state: State) -> None:
    """The database after reading everything is the database before, but for refused attempts."""
    with running(state) as gateway:
        paths = [
            item["path"]
            for item in gateway.call("GET", "/v1/routes", state.observer).json["items"]
            if item["method"] == "GET" and "{" not in item["path"]
        ]
        before = content(state)
        for path in paths:
            for method in ("GET", "HEAD", "OPTIONS"):
                gateway.call(method, path, state.operator)
        assert gateway.stop() == 0
    assert content(state) == before


def content(state: State) -> dict[str, list[tuple[object, ...]]]:
    names = rows(state, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {str(name): rows(state, f"SELECT * FROM {name}") for (name,) in names}


def test_ready_says_which_dependencies_are_down(gateway: Gateway) -> None:
    answer = gateway.call("GET", "/readyz")
    assert answer.status == 200
    assert answer.json == {
        "status": "ready",
        "dependencies": {"memory": "down", "model": "down", "tools": "down"},
    }


def test_a_body_that_is_too_large_is_refused(gateway: Gateway) -> None:
    answer = gateway.operator("POST", "/tasks", {"kind": "x", "payload": {"a": "x" * 1_100_000}})
    assert answer.status == 413
    assert (answer.json["title"], answer.json["code"]) == ("Content too large", "too_large")


def test_an_unknown_configuration_key_refuses_to_start(tmp_path: object) -> None:
    from pathlib import Path

    from tests.service.running import sonia

    assert isinstance(tmp_path, Path)
    state = new_state(tmp_path / "state", "turns: {}\n")
    refused = sonia(state, "run", "gateway")
    assert refused.returncode == 78
    assert "turns" in refused.stderr

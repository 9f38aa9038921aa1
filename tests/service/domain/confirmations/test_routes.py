"""Decisions about waiting calls: one winner, the stored arguments, and an end that restarts keep."""

import threading
from pathlib import Path
from typing import Any

import pytest

from service.clock import wall_ms
from tests.service.running import Gateway, State, new_state, rows, running, until
from tests.service.stack import Stack


def ask(gateway: Gateway, command: str = "true") -> dict[str, Any]:
    asked = gateway.operator(
        "POST", "/v1/tools/shell.run/execute", {"arguments": {"command": command}}
    )
    assert asked.status == 202
    answer: dict[str, Any] = asked.json
    return answer


def decision(asked: dict[str, Any], choice: str) -> dict[str, Any]:
    return {
        "confirmation_id": asked["confirmation_id"],
        "decision": choice,
        "args_sha256": asked["args_sha256"],
    }


def status_of(gateway: Gateway, asked: dict[str, Any]) -> str:
    path = f"/v1/confirmations/{asked['confirmation_id']}"
    return str(gateway.operator("GET", path).json["status"])


def test_a_pending_call_is_shown_with_what_would_run(gateway: Gateway) -> None:
    asked = ask(gateway, "echo b")
    shown = gateway.operator("GET", f"/v1/confirmations/{asked['confirmation_id']}").json
    assert shown["status"] == "pending"
    assert shown["arguments"]["command"] == "echo b"
    assert shown["args_sha256"] == asked["args_sha256"]
    assert 0 < shown["expires_in_ms"] <= 300_000
    listed = gateway.operator("GET", "/v1/confirmations?limit=200").json["items"]
    assert asked["confirmation_id"] in {each["id"] for each in listed}


def test_deny_never_runs(gateway: Gateway) -> None:
    asked = ask(gateway)
    assert gateway.operator("POST", "/approve", decision(asked, "deny")).json["status"] == "denied"
    late = gateway.operator("POST", "/v1/approve", decision(asked, "approve"))
    assert (late.status, late.json["code"]) == (409, "already_decided")
    found = rows(
        gateway.state,
        "SELECT count(*) FROM tool_runs WHERE confirmation_id = ?",
        asked["confirmation_id"],
    )
    assert found == [(0,)]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"args_sha256": "0" * 64}, 409, "args_mismatch"),
        ({"args_sha256": None}, 400, "invalid_request"),
        ({"decision": "maybe"}, 400, "invalid_request"),
        ({"confirmation_id": "conf_none"}, 404, "not_found"),
    ],
)
def test_a_decision_that_does_not_fit_changes_nothing(
    gateway: Gateway, change: dict[str, Any], status: int, code: str
) -> None:
    asked = ask(gateway)
    answer = gateway.operator("POST", "/approve", {**decision(asked, "approve"), **change})
    assert (answer.status, answer.json["code"]) == (status, code)
    assert status_of(gateway, asked) == "pending"


def test_what_the_policy_denies_by_now_is_not_run(tmp_path: Path) -> None:
    with running(new_state(tmp_path / "state")) as gateway:
        asked = ask(gateway)
        gateway.operator("PUT", "/v1/policies/guarded_high", {"decision": "deny"}, If_Match='"1"')
        answer = gateway.operator("POST", "/approve", decision(asked, "approve"))
        assert (answer.status, answer.json["code"]) == (403, "policy_denied")
        assert status_of(gateway, asked) == "pending"


def test_racing_decisions_have_one_winner_and_one_run(stack: Stack) -> None:
    gateway = stack.gateway
    for round_number in range(3):
        asked = ask(gateway, f"echo {round_number} >> race")
        answers: list[int] = []
        gate = threading.Barrier(6)

        def decide(
            choice: str,
            asked: dict[str, Any] = asked,
            gate: threading.Barrier = gate,
            answers: list[int] = answers,
        ) -> None:
            gate.wait()
            answers.append(gateway.operator("POST", "/approve", decision(asked, choice)).status)

        racing = [
            threading.Thread(target=decide, args=(choice,)) for choice in ["approve", "deny"] * 3
        ]
        for each in racing:
            each.start()
        for each in racing:
            each.join()
        assert sorted(answers) == [200] + [409] * 5
        runs = rows(
            gateway.state,
            "SELECT count(*) FROM tool_runs WHERE confirmation_id = ?",
            asked["confirmation_id"],
        )
        assert runs == [(1 if status_of(gateway, asked) == "approved" else 0,)]
        decided = rows(
            gateway.state,
            "SELECT count(*) FROM audit WHERE effect_id = ? AND action IN"
            " ('confirmation.approve', 'confirmation.deny')",
            asked["confirmation_id"],
        )
        assert decided == [(1,)]
    race = gateway.state.directory.root / "workspace" / "race"
    lines = race.read_text().split() if race.exists() else []
    assert len(lines) == len(set(lines))


def test_a_late_approval_finds_it_expired(tmp_path: Path) -> None:
    state = new_state(tmp_path / "state", "confirmations: {ttl_s: 0.2}\n")
    with running(state) as gateway:
        asked = ask(gateway)
        until(lambda: status_of(gateway, asked) == "expired")
        late = gateway.operator("POST", "/approve", decision(asked, "approve"))
        assert (late.status, late.json["code"]) == (409, "confirmation_expired")
        again = gateway.operator("POST", "/approve", decision(asked, "deny"))
        assert (again.status, again.json["code"]) == (409, "confirmation_expired")
    found = rows(state, "SELECT actor_id, outcome FROM audit WHERE action = 'confirmation.expire'")
    assert found == [("system:confirmations", "system")]


def test_the_remaining_time_survives_a_kill_and_what_ran_out_is_expired(state: State) -> None:
    with running(state) as gateway:
        lasting = ask(gateway)
        gateway.kill()
    with running(state) as gateway:
        path = f"/v1/confirmations/{lasting['confirmation_id']}"
        asked_ms = wall_ms()
        shown = gateway.operator("GET", path).json
        assert shown["status"] == "pending"
        assert shown["expires_at_ms"] == lasting["expires_at_ms"]
        assert shown["expires_in_ms"] <= lasting["expires_at_ms"] - asked_ms + 100
        gateway.kill()
    ended = wall_ms() - 1
    rows(state, "UPDATE confirmations SET expires_at_ms = ?", ended)
    with running(state) as gateway:
        assert status_of(gateway, lasting) == "expired"
        assert gateway.operator("POST", "/approve", decision(lasting, "approve")).status == 409
    assert rows(state, "SELECT status, decided_by FROM confirmations") == [
        ("expired", "system:confirmations")
    ]
    assert rows(state, "SELECT count(*) FROM audit WHERE action = 'confirmation.expire'") == [(1,)]

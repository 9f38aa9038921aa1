"""Turns, with memory and model there, cut off and silent."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.running import Answer, rows
from tests.service.stack import Stack

BURST = 20


@pytest.fixture(autouse=True)
def healed(stack: Stack) -> Iterator[None]:
    yield
    for name in ("memory", "model"):
        stack.links[name].heal()
    stack.await_up("memory", "model")


def turn(stack: Stack, text: str = "what about whales", **fields: object) -> Answer:
    return stack.gateway.operator("POST", "/v1/turn", {"text": text, **fields})


def burst(stack: Stack) -> list[Answer]:
    with ThreadPoolExecutor(BURST) as threads:
        return list(threads.map(lambda _: turn(stack), range(BURST)))


def test_a_turn_answers_with_what_is_remembered(stack: Stack) -> None:
    stack.remember("whales sing at night")
    answer = turn(stack).json
    assert [each["text"] for each in answer["memories"]] == ["whales sing at night"]
    assert "whales sing at night" in answer["answer"]
    assert (answer["degraded"], answer["degraded_reasons"], answer["session_id"]) == (
        False,
        [],
        None,
    )


def test_a_turn_is_counted_and_audited_in_one_step(stack: Stack) -> None:
    session_id = stack.gateway.operator("POST", "/v1/sessions", {}).json["id"]
    answers = [turn(stack, session_id=session_id, actor="somebody else") for _ in range(3)]
    session = stack.gateway.operator("GET", f"/v1/sessions/{session_id}").json
    assert session["turn_count"] == 3
    state = stack.gateway.state
    for answer in answers:
        audited = rows(
            state,
            "SELECT action, actor_id, effect_table, effect_id FROM audit WHERE request_id = ?",
            answer.headers["x-request-id"],
        )
        operator_id = state.operator.partition(".")[0]
        assert audited == [("turn.take", operator_id, "turns", answer.json["turn_id"])]
        kept = rows(
            state, "SELECT session_id, degraded FROM turns WHERE id = ?", answer.json["turn_id"]
        )
        assert kept == [(session_id, 0)]


def test_sessions_that_cannot_be_used(stack: Stack) -> None:
    assert turn(stack, session_id="ses_none").status == 404
    session_id = stack.gateway.operator("POST", "/v1/sessions", {}).json["id"]
    stack.gateway.operator("DELETE", f"/v1/sessions/{session_id}")
    assert turn(stack, session_id=session_id).status == 409
    assert stack.gateway.operator("GET", f"/v1/sessions/{session_id}").json["turn_count"] == 0


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": 7}, {"text": "x" * 40_000}, []])
def test_bodies_that_are_no_turn(stack: Stack, body: object) -> None:
    assert stack.gateway.operator("POST", "/v1/turn", body).status == 400


@pytest.mark.parametrize("name", ["memory", "model"])
@pytest.mark.parametrize("fault", ["cut", "silence"])
def test_a_missing_dependency_degrades_every_answer_and_its_return_needs_nobody(
    stack: Stack, name: str, fault: str
) -> None:
    getattr(stack.links[name], fault)()
    inside = burst(stack)
    assert {each.status for each in inside} == {200}
    assert {tuple(each.json["degraded_reasons"]) for each in inside} == {(f"{name}_unavailable",)}
    assert all(each.json["answer"] for each in inside)
    assert stack.dependency(name) == "down"
    assert stack.gateway.call("GET", "/readyz").status == 200
    stack.links[name].heal()
    stack.await_up(name)
    assert not any(each.json["degraded"] for each in burst(stack))


def test_both_missing_is_still_an_answer(stack: Stack) -> None:
    stack.links["memory"].cut()
    stack.links["model"].silence()
    answer = turn(stack)
    assert answer.status == 200
    assert answer.json["degraded_reasons"] == ["memory_unavailable", "model_unavailable"]
    assert answer.json["memories"] == []


def test_memory_can_be_asked_and_says_when_it_cannot(stack: Stack) -> None:
    stack.remember("penguins swim")
    gateway = stack.gateway
    found = gateway.call("GET", "/v1/memory?q=penguins&max_tokens=50", gateway.state.observer)
    assert [each["text"] for each in found.json["items"]] == ["penguins swim"]
    none = gateway.call("GET", "/v1/memory?q=penguins&max_tokens=1", gateway.state.observer)
    assert none.json == {"items": [], "tokens": 0}
    assert gateway.call("GET", "/v1/memory", gateway.state.observer).status == 400
    stack.links["memory"].cut()
    refused = gateway.call("GET", "/v1/memory?q=penguins", gateway.state.observer)
    assert (refused.status, refused.json["code"]) == (503, "memory_unavailable")
    assert int(refused.headers["retry-after"]) >= 1

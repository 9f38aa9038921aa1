"""Idempotency-Key: once, answered as before, and never across actors, payloads or crashes."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import apsw
import pytest

from service.errors import Conflict, Unprocessable
from service.http.bodies import BodyTooLarge, read_body
from service.http.idempotency import (
    Entry,
    Kept,
    Slot,
    begin,
    complete,
    entry_of,
    find,
    judge,
    settle,
)
from service.storage.migrations import migrate
from tests.service.running import Answer, Gateway, State, rows, running, sonia


def post(
    gateway: Gateway,
    path: str,
    body: object,
    key: str,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    sent = {"Idempotency-Key": key, **(headers or {})}
    return gateway.call("POST", path, token or gateway.state.operator, body, sent)


def count(gateway: Gateway, kind: str) -> int:
    found = rows(gateway.state, "SELECT count(*) FROM tasks WHERE kind = ?", kind)
    return int(found[0][0])


def test_sent_again_it_has_its_effect_once_and_the_same_answer(gateway: Gateway) -> None:
    first = post(gateway, "/tasks", {"kind": "again"}, "k1")
    second = post(gateway, "/tasks", {"kind": "again"}, "k1")
    assert first.status == second.status == 201
    assert second.body == first.body
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert count(gateway, "again") == 1


def test_an_error_is_an_answer_too(gateway: Gateway) -> None:
    first = post(gateway, "/tasks/none/cancel", None, "k2")
    assert first.status == 404
    assert post(gateway, "/tasks/none/cancel", None, "k2").headers["idempotent-replayed"] == "true"


def test_another_payload_under_the_same_key_is_refused(gateway: Gateway) -> None:
    post(gateway, "/tasks", {"kind": "one"}, "k3")
    other = post(gateway, "/tasks", {"kind": "two"}, "k3")
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert count(gateway, "two") == 0


def test_keys_of_two_actors_are_two_keys(gateway: Gateway) -> None:
    issued = gateway.operator("POST", "/v1/tokens", {"role": "operator"}).json
    post(gateway, "/tasks", {"kind": "shared"}, "k4")
    other = post(gateway, "/tasks", {"kind": "shared"}, "k4", issued["token"])
    assert "idempotent-replayed" not in other.headers
    assert count(gateway, "shared") == 2


def test_a_key_is_looked_up_after_authorisation(gateway: Gateway) -> None:
    post(gateway, "/tasks", {"kind": "mine"}, "k5")
    assert post(gateway, "/tasks", {"kind": "mine"}, "k5", gateway.state.observer).status == 403
    assert post(gateway, "/tasks", {"kind": "mine"}, "k5", "tok_x.y").status == 401


def test_secrets_are_neither_stored_nor_repeated(gateway: Gateway) -> None:
    issued = post(gateway, "/v1/tokens", {"role": "operator"}, "k6")
    again = post(gateway, "/v1/tokens", {"role": "operator"}, "k6")
    assert (again.status, again.json["code"]) == (409, "secret_not_repeated")
    rotate = f"/v1/tokens/{issued.json['id']}/rotate"
    rotated = post(gateway, rotate, {}, "k7")
    assert rotated.status == 200
    assert post(gateway, rotate, {}, "k7").status == 409
    stored = rows(gateway.state, "SELECT headers, body FROM idempotency WHERE state = 'secret'")
    assert stored == [(None, None), (None, None)]


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256])
def test_a_key_that_is_none_is_refused(gateway: Gateway, key: str) -> None:
    assert post(gateway, "/tasks", {"kind": "bad key"}, key).status == 400
    assert count(gateway, "bad key") == 0


def test_keys_stand_only_for_posts(gateway: Gateway) -> None:
    for _ in range(2):
        answer = gateway.operator("GET", "/tasks", Idempotency_Key="k8")
        assert answer.status == 200
        assert "idempotent-replayed" not in answer.headers


def test_at_the_same_time_one_runs_and_the_others_wait_or_repeat(gateway: Gateway) -> None:
    answers: list[Answer] = []
    gate = threading.Barrier(8)

    def send() -> None:
        gate.wait()
        answers.append(post(gateway, "/tasks", {"kind": "crowd"}, "k9"))

    crowd = [threading.Thread(target=send) for _ in range(8)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    assert count(gateway, "crowd") == 1
    fresh = [a for a in answers if a.status == 201 and "idempotent-replayed" not in a.headers]
    assert len(fresh) == 1
    assert {answer.status for answer in answers} <= {201, 409}


def test_a_body_that_is_too_large_is_refused_before_it_is_read(gateway: Gateway) -> None:
    body = {"kind": "x", "payload": {"a": "x" * 1_100_000}}
    assert post(gateway, "/tasks", body, "k10").status == 413


def test_a_key_survives_a_kill_and_an_interrupted_one_is_never_run_again(state: State) -> None:
    with running(state) as gateway:
        first = post(gateway, "/tasks", {"kind": "once"}, "k1")
        gateway.kill()
    rows(
        state,
        "INSERT INTO idempotency (actor_id, route, key, payload_sha256, state, created_at_ms)"
        " SELECT actor_id, route, 'k2', payload_sha256, 'in_flight', created_at_ms"
        " FROM idempotency",
    )
    with running(state) as gateway:
        again = post(gateway, "/tasks", {"kind": "once"}, "k1")
        assert again.body == first.body
        interrupted = post(gateway, "/tasks", {"kind": "once"}, "k2")
        assert (interrupted.status, interrupted.json["code"]) == (409, "outcome_unknown")
        assert count(gateway, "once") == 1
    assert sonia(state, "audit", "verify").returncode == 0


@pytest.mark.parametrize(
    ("known", "error", "code"),
    [
        (Entry("b", "done", 200), Unprocessable, "idempotency_key_reused"),
        (Entry("a", "in_flight"), Conflict, "request_in_flight"),
        (Entry("a", "secret", 201), Conflict, "secret_not_repeated"),
        (Entry("a", "interrupted"), Conflict, "outcome_unknown"),
    ],
)
def test_what_cannot_be_repeated_says_why(known: Entry, error: type[Any], code: str) -> None:
    with pytest.raises(error) as refused:
        judge(known, "a")
    assert refused.value.code == code


SLOT = Slot("tok_a", "/tasks", "k")
DAY_MS = 86_400_000


@pytest.fixture
def begun() -> apsw.Connection:
    """A database with a key that was begun on day ten."""
    connection = apsw.Connection(":memory:")
    migrate(connection, 0)
    assert begin(connection, SLOT, "aa", 10 * DAY_MS) is None
    return connection


@pytest.mark.parametrize(
    ("status", "secret", "nothing_done", "kept"),
    [
        (200, False, False, Entry("aa", "done", 200, '[["a","b"]]', b"x")),
        (399, True, False, Entry("aa", "secret", 399)),
        (400, True, False, Entry("aa", "done", 400, '[["a","b"]]', b"x")),
        (499, False, False, Entry("aa", "done", 499, '[["a","b"]]', b"x")),
        (500, False, False, Entry("aa", "interrupted")),
        (503, False, False, Entry("aa", "interrupted")),
        (504, True, False, Entry("aa", "interrupted")),
        (0, False, False, Entry("aa", "interrupted")),
        (503, False, True, None),
    ],
)
def test_what_is_kept_of_an_answer(
    begun: apsw.Connection, status: int, secret: bool, nothing_done: bool, kept: Entry | None
) -> None:
    answer = Kept(status, [("a", "b")], b"x")
    complete(begun, SLOT, entry_of(answer, "aa", secret=secret, nothing_done=nothing_done))
    assert find(begun, SLOT) == kept
    assert begin(begun, SLOT, "bb", 11 * DAY_MS) == kept


def test_at_a_start_what_was_in_flight_is_interrupted(begun: apsw.Connection) -> None:
    settle(begun)
    assert find(begun, SLOT) == Entry("aa", "interrupted")


def body_read(limit: int, *chunks: bytes, leaves: bool = False) -> bytes | None:
    """What is read of a body that comes in chunks, from a caller that may leave before its end."""
    messages: list[Any] = [
        {"type": "http.request", "body": chunk, "more_body": leaves or number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ]
    coming = iter([*messages, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(coming)

    return asyncio.run(read_body(receive, limit))


def test_a_body_is_read_to_its_end_and_up_to_its_bound() -> None:
    assert body_read(5, b"abc", b"de") == b"abcde"
    assert body_read(0, b"") == b""
    with pytest.raises(BodyTooLarge, match="longer than 4 bytes"):
        body_read(4, b"abc", b"de")


def test_of_a_caller_that_leaves_before_the_end_nothing_is_kept() -> None:
    assert body_read(5, b"abc", leaves=True) is None
    assert body_read(5) is None

"""Refusals: callers are told the same of every wrong token, the log is told all of it."""

import asyncio
from typing import Any

import msgspec
import pytest

from service.auth.credentials import Actor
from service.auth.refusals import Refusal
from service.http.denials import (
    Denial,
    denied_cause,
    refuse_credentials,
    refuse_role,
    send_denial,
)

OBSERVER = Actor("tok_1", "observer", "somebody")
SCOPE: Any = {
    "type": "http",
    "method": "POST",
    "path": "/tasks/t1/cancel",
    "path_template": "/tasks/{task_id}/cancel",
    "state": {"request_id": "req_1"},
}


def answered(denial: Denial) -> list[Any]:
    """Return the messages that answer `denial` over HTTP."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("a refusal reads nothing")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(send_denial(SCOPE, receive, send, denial))
    return sent


def test_missing_credentials_are_asked_for_without_an_error_code() -> None:
    denial = refuse_credentials(Refusal.ABSENT)

    assert (denial.status, denial.code, denial.challenge) == (401, "unauthorized", b"Bearer")


@pytest.mark.parametrize("reason", [each for each in Refusal if each is not Refusal.ABSENT])
def test_a_caller_is_told_the_same_of_every_wrong_token(reason: Refusal) -> None:
    usual = refuse_credentials(Refusal.UNKNOWN)

    denial = refuse_credentials(reason)

    assert denial.reason == reason
    assert msgspec.structs.replace(denial, reason=usual.reason) == usual
    assert (denial.status, denial.code) == (401, "invalid_token")
    assert denial.challenge == b'Bearer error="invalid_token"'


def test_a_role_that_is_not_enough_is_another_refusal() -> None:
    denial = refuse_role(OBSERVER)

    assert (denial.status, denial.code, denial.reason) == (403, *["insufficient_scope"] * 2)
    assert denial.challenge == b'Bearer error="insufficient_scope"'


def test_the_log_names_whoever_was_verified() -> None:
    cause = denied_cause(SCOPE, refuse_role(OBSERVER))

    assert (cause.actor_id, cause.actor_role) == ("tok_1", "observer")
    assert (cause.action, cause.outcome) == ("auth.denied", "denied")
    assert (cause.method, cause.target) == ("POST", "/tasks/t1/cancel")
    assert (cause.route, cause.request_id) == ("/tasks/{task_id}/cancel", "req_1")


def test_the_log_names_nobody_who_was_not() -> None:
    cause = denied_cause(SCOPE, refuse_credentials(Refusal.EXPIRED))

    assert (cause.actor_id, cause.actor_role) == ("anonymous", "anonymous")


@pytest.mark.parametrize(
    ("reason", "token_id"),
    [(Refusal.REVOKED, "tok_1"), (Refusal.WRONG_SECRET, "tok_1"), (Refusal.UNKNOWN, "")],
)
def test_only_tokens_that_there_are_are_counted_apart(reason: Refusal, token_id: str) -> None:
    assert refuse_credentials(reason, "tok_1").token_id == token_id


def test_the_log_keeps_the_beginning_of_a_long_path() -> None:
    cause = denied_cause({**SCOPE, "path": "/" + "a" * 60_000}, refuse_role(OBSERVER))

    assert cause.target == "/" + "a" * 254 + "…"


def test_the_answer_holds_its_problem_and_not_its_reason() -> None:
    start, body = answered(refuse_credentials(Refusal.EXPIRED))

    headers = dict(start["headers"])
    assert (start["type"], start["status"]) == ("http.response.start", 401)
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"www-authenticate"] == b'Bearer error="invalid_token"'
    assert int(headers[b"content-length"]) == len(body["body"])
    assert (body["type"], body["more_body"]) == ("http.response.body", False)
    assert msgspec.json.decode(body["body"]) == {
        "status": 401,
        "title": "Unauthorized",
        "code": "invalid_token",
        "detail": "the token is not valid",
        "request_id": "req_1",
    }

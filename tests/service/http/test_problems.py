"""What a caller is told of each kind of error."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from litestar import Response
from litestar.exceptions import HTTPException, ValidationException

from service.errors import Conflict
from service.http.problems import Problem, on_http_error, on_problem, on_unexpected, send_refusal


def request(method: str) -> Any:
    return SimpleNamespace(scope={"method": method, "state": {"request_id": "req_1"}})


REQUEST = request("GET")


def body(response: Response[bytes]) -> Any:
    assert response.media_type == "application/problem+json"
    told = json.loads(response.content)
    assert told["status"] == response.status_code
    assert told["request_id"] == "req_1"
    return told


def test_what_may_be_tried_again_says_when_in_whole_seconds_and_exactly() -> None:
    answer = on_problem(REQUEST, Conflict("busy", "request_in_flight", 1001))
    assert answer.headers == {"Retry-After": "2"}
    told = body(answer)
    assert (told["code"], told["detail"], told["retry_after_ms"]) == (
        "request_in_flight",
        "busy",
        1001,
    )
    assert on_problem(REQUEST, Conflict("decided")).headers == {}


def test_of_a_failure_of_the_server_nothing_is_told() -> None:
    for answer in (
        on_unexpected(REQUEST, ZeroDivisionError("secret")),
        on_http_error(REQUEST, HTTPException("secret", status_code=500)),
        on_http_error(REQUEST, HTTPException("secret", status_code=503)),
    ):
        assert body(answer)["detail"] == "the server failed"
    assert body(on_unexpected(REQUEST, ZeroDivisionError()))["code"] == "internal_error"
    other = body(on_http_error(REQUEST, HTTPException("teapot", status_code=418)))
    assert (other["title"], other["code"], other["detail"]) == ("Error", "error", "teapot")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_change_that_failed_unexpectedly_may_have_been_made(method: str) -> None:
    for answer in (
        on_unexpected(request(method), ZeroDivisionError("secret")),
        on_http_error(request(method), HTTPException("secret", status_code=500)),
    ):
        told = body(answer)
        assert (told["status"], told["code"]) == (500, "outcome_unknown")
        assert "may have had its effect" in told["detail"]


def test_which_methods_there_are_is_told_and_no_other_header() -> None:
    refused = HTTPException(status_code=405, headers={"Allow": "GET", "X-Other": "1"})
    answer = on_http_error(REQUEST, refused)
    assert answer.headers == {"Allow": "GET"}
    assert (body(answer)["title"], body(answer)["code"]) == (
        "Method not allowed",
        "method_not_allowed",
    )


def test_what_is_wrong_with_a_request_is_told_by_its_place() -> None:
    wrong = ValidationException("no", extra=[{"key": "limit", "message": "at most 200"}])
    told = body(on_http_error(REQUEST, wrong))
    assert told["errors"] == [{"key": "limit", "message": "at most 200"}]
    assert "errors" not in body(on_http_error(REQUEST, ValidationException("no")))


@pytest.mark.parametrize(
    ("kind", "answer"), [("http", "http.response"), ("websocket", "websocket.http.response")]
)
def test_a_refusal_is_one_whole_answer_with_its_challenge(kind: str, answer: str) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    problem = Problem(401, "Unauthorized", "invalid_token", "no such token", "req_1")
    asyncio.run(send_refusal(cast("Any", {"type": kind}), receive, send, problem, b"Bearer"))

    start, end = sent
    assert (start["type"], start["status"]) == (f"{answer}.start", 401)
    assert dict(start["headers"]) == {
        b"content-type": b"application/problem+json",
        b"content-length": str(len(end["body"])).encode(),
        b"www-authenticate": b"Bearer",
    }
    assert (end["type"], end["more_body"]) == (f"{answer}.body", False)
    told = json.loads(end["body"])
    assert (told["code"], told["request_id"]) == ("invalid_token", "req_1")

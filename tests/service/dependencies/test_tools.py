"""What the gateway makes of the tools process' answers: ran, did not run, may have run."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from service.dependencies.dependency import CallNotSent
from service.dependencies.errors import DependencyUnavailable, ToolOutcomeUnknown, ToolsUnavailable
from service.dependencies.tools import ToolsClient
from service.http.client import HttpAnswer, HttpRequest
from service.messages.tool_table import arguments_sha256
from service.messages.tools import ExecuteTool, Outcome, ToolOutcome

RAN = ToolOutcome("file.read", Outcome.SUCCEEDED, {"content": "x"})


class Scripted:
    """A dependency that answers, or fails, as it was told to."""

    def __init__(self, answer: HttpAnswer | Exception, retry_in_s: float = 0.0) -> None:
        self._answer = answer
        self._retry_in_s = retry_in_s
        self.asked: list[HttpRequest] = []

    async def call(self, request: HttpRequest) -> HttpAnswer:
        self.asked.append(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def retry_in_s(self) -> float:
        return self._retry_in_s


def client(dependency: Scripted) -> ToolsClient:
    return ToolsClient(cast("Any", dependency), 3.0)


def execute(answer: HttpAnswer | Exception) -> tuple[ToolOutcome, HttpRequest]:
    dependency = Scripted(answer)
    outcome = asyncio.run(
        client(dependency).execute("file.read", "{}", "policy:p", request_id="r1")
    )
    [request] = dependency.asked
    return outcome, request


def test_a_call_goes_out_with_what_was_approved_and_is_never_repeated() -> None:
    outcome, request = execute(HttpAnswer(200, {}, msgspec.json.encode(RAN)))
    assert outcome == RAN
    assert (request.method, request.path) == ("POST", "/internal/tools/file.read/execute")
    assert (request.within_s, request.repeatable) == (3.0, False)
    assert request.headers == {"X-Request-Id": "r1"}
    sent = msgspec.json.decode(request.body or b"", type=ExecuteTool)
    assert sent == ExecuteTool("{}", arguments_sha256("{}"), "policy:p")


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 422, 429])
def test_a_refusal_ran_nothing(status: int) -> None:
    with pytest.raises(ToolsUnavailable, match=f"{status}: nothing was run"):
        execute(HttpAnswer(status, {}, msgspec.json.encode(RAN)))


@pytest.mark.parametrize("status", [200, 401, 402, 406, 409, 430, 500])
def test_what_cannot_be_read_may_have_run(status: int) -> None:
    with pytest.raises(ToolOutcomeUnknown):
        execute(HttpAnswer(status, {}, b"{}"))


def test_what_was_not_sent_did_not_run_and_what_was_lost_may_have() -> None:
    with pytest.raises(ToolsUnavailable, match="down"):
        execute(CallNotSent("down"))
    with pytest.raises(ToolOutcomeUnknown, match="lost"):
        execute(DependencyUnavailable("lost"))


@pytest.mark.parametrize(("retry_in_s", "ms"), [(0.0, 1), (0.0004, 1), (0.0025, 2), (1.5, 1500)])
def test_when_it_may_be_tried_again(retry_in_s: float, ms: int) -> None:
    assert client(Scripted(HttpAnswer(200, {}, b""), retry_in_s)).retry_in_ms() == ms

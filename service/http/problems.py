"""Errors as answers: RFC 9457 problem documents with a stable `code` and the request's id."""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.types import ExceptionHandlersMap, Receive, Scope, Send

from service.errors import OutcomeUnknown, ProblemError, Unavailable
from service.http.sockets import SAFE_METHODS, deny_socket
from service.jsontypes import Json
from service.reliability.tracing import trace_of

AnyRequest = Request[object, object, State]
NOTHING_DONE: Final = "nothing_done"
"""In the state of a request whose server error means that certainly nothing was changed."""
UNKNOWN: Final = "the request was interrupted: it may have had its effect; look before trying again"
"""What is said of a change of which nobody can say what came of it."""
MEDIA_TYPE: Final = "application/problem+json"
_LOG: Final = logging.getLogger("sonia.gateway")
_CODES: Final = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}
_TITLES: Final = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    413: "Content too large",
}


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every error."""

    status: int
    title: str
    code: str
    detail: str
    request_id: str
    type: str = "about:blank"
    retry_after_ms: int | None = None
    errors: tuple[Mapping[str, Json], ...] = ()


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """Render `problem`, with Retry-After in whole seconds when it can be tried again."""
    extra = dict(headers or {})
    if problem.retry_after_ms is not None:
        extra["Retry-After"] = str(math.ceil(problem.retry_after_ms / 1000))
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=extra,
    )


async def send_refusal(
    scope: Scope, receive: Receive, send: Send, problem: Problem, challenge: bytes | None = None
) -> None:
    """Answer `problem` from outside of all handlers, with what the caller has to present (`challenge`), if that is it.

    A WebSocket is refused before it opens, with the same answer.
    """
    note_code(scope, problem.code)
    body = msgspec.json.encode(problem)
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if challenge is not None:
        headers.append((b"www-authenticate", challenge))
    if scope["type"] == ScopeType.WEBSOCKET:
        await deny_socket(receive, send, problem.status, headers, body)
        return
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def note_code(scope: Scope, code: str) -> None:
    """Tell the trace of a request, where it has one, with which code it is answered."""
    trace_of(scope).code = code


def _request_id(request: AnyRequest) -> str:
    return str(request.scope["state"].get("request_id", ""))


def on_problem(request: AnyRequest, error: ProblemError) -> Response[bytes]:
    """Answer an error that SONIA raised on purpose, and note whether it says that certainly nothing was changed."""
    request.scope["state"][NOTHING_DONE] = isinstance(error, Unavailable)
    problem = Problem(
        error.status,
        error.title,
        error.code,
        error.detail,
        _request_id(request),
        retry_after_ms=error.retry_after_ms,
    )
    return _answer(request, problem)


def allowed(methods: Iterable[str]) -> str:
    """The value of Allow for `methods`; a WebSocket is none."""
    return ", ".join(sorted(each for each in methods if each.isupper()))


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Answer what Litestar refused: an unknown path or method, a body that is not what was asked for."""
    status = error.status_code
    if status >= 500:
        return _failed(request, error, status)
    given = {name.lower(): value for name, value in (error.headers or {}).items()}
    headers = {"Allow": allowed(given["allow"].split(", "))} if "allow" in given else {}
    problem = Problem(
        status=status,
        title=_TITLES.get(status, "Error"),
        code=_CODES.get(status, "error"),
        detail=error.detail,
        request_id=_request_id(request),
        errors=_errors(error),
    )
    return _answer(request, problem, headers)


def _errors(error: HTTPException) -> tuple[Mapping[str, Json], ...]:
    if not isinstance(error, ValidationException) or not isinstance(error.extra, list):
        return ()
    return tuple(
        {"key": str(each.get("key", "")), "message": str(each.get("message", ""))}
        for each in error.extra
    )


def on_unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer a defect of SONIA: the log gets the traceback, the caller only the request id."""
    return _failed(request, error, 500)


def _failed(request: AnyRequest, error: Exception, status: int) -> Response[bytes]:
    """Say of what only reads that it failed, and of all else that it may have had its effect."""
    request_id = _request_id(request)
    _LOG.error("request %s failed", request_id, exc_info=error)
    if request.scope["method"] in SAFE_METHODS:
        failed = Problem(
            status, "Internal error", "internal_error", "the server failed", request_id
        )
        return _answer(request, failed)
    return _answer(request, unknown_outcome(request_id, status))


def _answer(
    request: AnyRequest, problem: Problem, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    note_code(request.scope, problem.code)
    return problem_response(problem, headers)


def unknown_outcome(request_id: str, status: int = OutcomeUnknown.status) -> Problem:
    """What is answered to a change of which nobody can say what came of it."""
    it = OutcomeUnknown
    return Problem(status, it.title, it.default_code, UNKNOWN, request_id)


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {
    ProblemError: on_problem,
    HTTPException: on_http_error,
    NotFoundException: on_http_error,
    MethodNotAllowedException: on_http_error,
    Exception: on_unexpected,
}

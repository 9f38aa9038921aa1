"""Whose pages may read answers, as a browser is told."""

import asyncio
from typing import Any

import pytest

from service.http.sharing import Sharing
from service.settings import CorsSettings

OPS = b"https://ops.example"
LISTED = CorsSettings(origins=("https://Ops.example", "http://127.0.0.1:5173"))
PREFLIGHT = (b"access-control-request-method", b"PUT")


def answered(
    settings: CorsSettings, *headers: tuple[bytes, bytes], method: str = "GET", kind: str = "http"
) -> dict[bytes, bytes]:
    """The headers of the answer, with `status`; what the application answers itself has `app`."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": [(b"app", b"1")]})
        await send({"type": "http.response.body", "body": b"no", "more_body": False})

    async def take(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": kind, "method": method, "headers": headers}
    asyncio.run(Sharing(app, settings)(scope, None, take))  # type: ignore[arg-type]
    start, body = sent
    assert body["more_body"] is False
    assert len(dict(start["headers"])) == len(start["headers"])
    return {**dict(start["headers"]), b"status": str(start["status"]).encode()}


def test_a_listed_page_may_read_a_refusal_too() -> None:
    found = answered(LISTED, (b"origin", OPS))
    assert found[b"status"] == b"403"
    assert found[b"access-control-allow-origin"] == OPS
    assert found[b"vary"] == b"Origin"
    assert b"X-Request-Id" in found[b"access-control-expose-headers"]
    assert b"access-control-allow-credentials" not in found


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"origin", b"https://ops.example:8443")],
        [(b"origin", b"http://ops.example")],
        [(b"origin", b"https://ops.example.evil.example")],
        [(b"origin", b"https://ops.exampl")],
        [(b"origin", b"null")],
        [(b"origin", b"*")],
        [(b"origin", b"")],
        [(b"origin", OPS), (b"origin", OPS)],
    ],
)
def test_others_are_told_nothing_but_that_it_depends(headers: list[tuple[bytes, bytes]]) -> None:
    plain = {b"status": b"403", b"app": b"1", b"vary": b"Origin"}
    assert answered(LISTED, *headers) == plain
    assert answered(LISTED, *headers, PREFLIGHT, method="OPTIONS") == plain


def test_what_a_browser_asks_in_advance_is_answered_before_the_application() -> None:
    found = answered(LISTED, (b"origin", OPS), PREFLIGHT, method="OPTIONS")
    assert found[b"status"] == b"204"
    assert b"app" not in found
    assert found[b"access-control-allow-origin"] == OPS
    assert b"PUT" in found[b"access-control-allow-methods"]
    assert b"Authorization" in found[b"access-control-allow-headers"]
    # Without the method that it is about it is a question like any other.
    assert answered(LISTED, (b"origin", OPS), method="OPTIONS")[b"app"] == b"1"


def test_credentials_are_allowed_where_they_are_meant() -> None:
    settings = CorsSettings(origins=("https://ops.example",), credentials=True)
    assert answered(settings, (b"origin", OPS))[b"access-control-allow-credentials"] == b"true"


def test_everybody_is_named_as_that() -> None:
    found = answered(CorsSettings(origins=("*",)), (b"origin", b"null"))
    assert found[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in found


def test_sockets_are_no_matter_of_it() -> None:
    found = answered(LISTED, (b"origin", OPS), kind="websocket")
    assert found == {b"status": b"403", b"app": b"1"}

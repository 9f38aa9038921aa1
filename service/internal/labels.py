"""The request id of an exchange with an internal process, which its answer shows."""

from typing import Final

from litestar.types import Message, Scope, Send

from service.http.doorway import REQUEST_ID_HEADER
from service.ids import NewId

MAX_REQUEST_ID_CHARS: Final = 64


def labelled(scope: Scope, send: Send, new_id: NewId, *, known: bool) -> Send:
    """Give the exchange its id; return a `send` whose answer shows it.

    A `known` caller may name the request (`X-Request-Id`), so that one id follows it through all processes; for
    everybody else, and where it is no plain word, `new_id` makes one.
    """
    request_id = (_requested_id(scope) if known else None) or new_id("req")
    scope.setdefault("state", {})["request_id"] = request_id
    stamp = (REQUEST_ID_HEADER, request_id.encode())

    async def send_stamped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), stamp]
        await send(message)

    return send_stamped


def _requested_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and 0 < len(value) <= MAX_REQUEST_ID_CHARS:
            text = value.decode("latin-1")
            return (
                text
                if text.isascii() and text.replace("_", "").replace("-", "").isalnum()
                else None
            )
    return None

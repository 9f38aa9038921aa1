"""Who may call an internal process: whoever presents the whole service token, and nobody else.

A plain ASGI wrapper around the application, so that it also covers paths that do not exist, methods that are
not allowed and bodies that do not parse. Two paths are open; everything else is closed, whatever it is.
"""

import hmac
from typing import Final

import msgspec
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from service.auth.registry import Actor
from service.auth.roles import Role
from service.http.problems import MEDIA_TYPE, Problem
from service.ids import NewId

GATEWAY: Final = Actor("gateway", Role.SERVICE, "whoever presents the service token")
PUBLIC_PATHS: Final = frozenset({"/healthz", "/readyz"})
REQUEST_ID_HEADER: Final = b"x-request-id"
MAX_REQUEST_ID_CHARS: Final = 64


class ServiceTokenGate:
    """Lets a request through when it carries `service_token`, and labels every answer with a request id.

    A caller with the token may name the request (`X-Request-Id`), so that one id follows it through all processes;
    for everybody else, and where it is no plain word, `new_id` makes one.
    """

    def __init__(self, app: ASGIApp, service_token: str, new_id: NewId) -> None:
        self._app = app
        self._expected = b"Bearer " + service_token.encode()
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one exchange, or the lifespan (ASGI)."""
        kind: str = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
        elif kind == "http":
            await self._http(scope, receive, send)
        else:
            # No internal route is a WebSocket; closing before accepting refuses the handshake.
            await send({"type": "websocket.close", "code": 4401, "reason": ""})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        presented = [value for name, value in scope["headers"] if name == b"authorization"]
        known = len(presented) == 1 and hmac.compare_digest(presented[0], self._expected)
        request_id = (_requested_id(scope) if known else None) or self._new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        stamp = (REQUEST_ID_HEADER, request_id.encode())

        async def send_stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), stamp]
            await send(message)

        if known:
            scope["user"] = GATEWAY
        if known or scope["path"] in PUBLIC_PATHS:
            await self._app(scope, receive, send_stamped)
        else:
            await _refuse(send_stamped, request_id, anonymous=not presented)


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


async def _refuse(send: Send, request_id: str, *, anonymous: bool) -> None:
    # RFC 6750 section 3.1: no error code for a request that brought no credentials at all.
    challenge = b"Bearer" if anonymous else b'Bearer error="invalid_token"'
    code = "unauthorized" if anonymous else "invalid_token"
    body = msgspec.json.encode(
        Problem(401, "Unauthorized", code, "the service token is needed", request_id)
    )
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"www-authenticate", challenge),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})

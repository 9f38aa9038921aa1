"""Who may call an internal process: whoever presents the whole service token, and nobody else.

A plain ASGI wrapper around the application, so that it also covers paths that do not exist, methods that are
not allowed and bodies that do not parse. Two paths are open; everything else is closed, whatever it is.
"""

import hmac
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from service.auth.credentials import Actor
from service.auth.roles import Role
from service.http.problems import Problem, send_refusal
from service.ids import NewId
from service.internal.labels import labelled

GATEWAY: Final = Actor("gateway", Role.SERVICE, "whoever presents the service token")
PUBLIC_PATHS: Final = frozenset({"/healthz", "/readyz"})


class ServiceTokenGate:
    """Lets a request through when it carries `service_token`, and labels every answer with a request id."""

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
        send_labelled = labelled(scope, send, self._new_id, known=known)
        if known:
            scope["user"] = GATEWAY
        if known or scope["path"] in PUBLIC_PATHS:
            await self._app(scope, receive, send_labelled)
        else:
            await _refuse(scope, receive, send_labelled, anonymous=not presented)


async def _refuse(scope: Scope, receive: Receive, send: Send, *, anonymous: bool) -> None:
    # RFC 6750 section 3.1: no error code for a request that brought no credentials at all.
    challenge = b"Bearer" if anonymous else b'Bearer error="invalid_token"'
    code = "unauthorized" if anonymous else "invalid_token"
    request_id = scope["state"]["request_id"]
    problem = Problem(401, "Unauthorized", code, "the service token is needed", request_id)
    await send_refusal(scope, receive, send, problem, challenge)

"""How a WebSocket says who it is, and how it is turned away before it opens.

Browsers cannot set headers on a WebSocket, so the token comes as an offered subprotocol,
`sonia.bearer.<token>`, next to `sonia.v1`; only `sonia.v1` is ever echoed.
"""

from typing import Final

from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send, WebSocketScope

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER_PROTOCOL: Final = "sonia.bearer."


def method_of(scope: Scope) -> str:
    """The HTTP method of a request, or WEBSOCKET."""
    return str(scope["method"]) if scope["type"] == ScopeType.HTTP else "WEBSOCKET"


def bearer_of_socket(scope: WebSocketScope) -> bytes | None:
    """Return the token offered as a subprotocol, or None; several become one, which is no token."""
    offered = [each for each in scope["subprotocols"] if each.startswith(_BEARER_PROTOCOL)]
    if not offered:
        return None
    return ", ".join(each.removeprefix(_BEARER_PROTOCOL) for each in offered).encode()


async def deny_socket(
    receive: Receive, send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Refuse the handshake with a whole HTTP answer (ASGI's `websocket.http.response`)."""
    await receive()
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})

"""Who may call an internal process: whoever signs with the key of its link, and nobody else.

A plain ASGI wrapper around the application, so that it also covers paths that do not exist, methods that are
not allowed and bodies that do not parse. Two paths are open; everything else is closed, whatever it is.
"""

from typing import Final, cast

from litestar.types import ASGIApp, HTTPResponseStartEvent, HTTPScope, Message, Receive, Scope, Send

from service.auth.credentials import Actor
from service.auth.roles import Role
from service.http.bodies import BodyTooLarge, read_body, replayed
from service.http.problems import Problem, send_refusal
from service.http.signatures import Signature, Verifier
from service.ids import NewId
from service.internal.labels import labelled
from service.keys import Link

GATEWAY: Final = Actor("gateway", Role.SERVICE, "whoever has the key of this process's link")
PUBLIC_PATHS: Final = frozenset({"/healthz", "/readyz"})
MOST_BODY_BYTES: Final = 10_000_000
_CHALLENGE: Final = b"Signature"


class SignatureGate:
    """Lets a request through when it is signed for `link`, signs its answer, and labels every answer with a request id.

    A refusal is not signed: whoever holds a request back could have it refused, and pass that off as its answer.
    """

    def __init__(self, app: ASGIApp, link: Link, new_id: NewId) -> None:
        self._app = app
        self._verifier = Verifier(link)
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one exchange, or the lifespan (ASGI)."""
        kind: str = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
        elif kind == "http":
            await self._http(cast("HTTPScope", scope), receive, send)
        else:
            # No internal route is a WebSocket.
            await _refuse(scope, receive, labelled(scope, send, self._new_id, known=False))

    async def _http(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        if scope["path"] in PUBLIC_PATHS:
            await self._app(scope, receive, labelled(scope, send, self._new_id, known=False))
            return
        signature = self._verifier.read(
            scope["method"], scope["raw_path"], scope["query_string"], scope["headers"]
        )
        body = None if signature is None else await _body(receive)
        known = signature is not None and body is not None and self._verifier.use(signature, body)
        send_labelled = labelled(scope, send, self._new_id, known=known)
        if signature is None or body is None or not known:
            await _refuse(scope, receive, send_labelled)
            return
        scope["user"] = GATEWAY
        signing = self._signing(signature, send_labelled, head=scope["method"] == "HEAD")
        await self._app(scope, replayed(body, receive), signing)

    def _signing(self, signature: Signature, send: Send, *, head: bool) -> Send:
        """A `send` that holds an answer until it is whole, and signs it."""
        held: list[HTTPResponseStartEvent] = []
        parts: list[bytes] = []

        async def sign(message: Message) -> None:
            if message["type"] == "http.response.start":
                held.append(message)
            elif message["type"] == "http.response.body":
                parts.append(message["body"])
                if not message["more_body"]:
                    body = b"".join(parts)
                    start = held.pop()
                    signed = self._verifier.sign(signature, start["status"], b"" if head else body)
                    start["headers"] = [*start["headers"], *signed]
                    await send(start)
                    await send({"type": "http.response.body", "body": body, "more_body": False})
            else:
                await send(message)

        return sign


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None of one that is longer than anybody would have signed, or did not come to its end."""
    try:
        return await read_body(receive, MOST_BODY_BYTES)
    except BodyTooLarge:
        return None


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse alike whatever was presented."""
    detail = "a signature by the key of this link is needed"
    request_id = scope["state"]["request_id"]
    problem = Problem(401, "Unauthorized", "unauthorized", detail, request_id)
    await send_refusal(scope, receive, send, problem, _CHALLENGE)

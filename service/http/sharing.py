"""Which pages of other sites may read answers: cross-origin resource sharing, as browsers ask for it (the Fetch standard).

Sharing lets a page read what it was answered; whether it may change anything is decided by its origin in
`service.http.browsers`, and who calls by its token.
"""

from typing import Final, cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from service.http.doorway import Headers
from service.settings import EVERY_ORIGIN, CorsSettings

_VARIES: Final = (b"vary", b"Origin")
_CREDENTIALS: Final = (b"access-control-allow-credentials", b"true")
_READABLE: Final = (
    b"access-control-expose-headers",
    b"ETag, Idempotent-Replayed, Retry-After, X-Request-Id, X-Sonia-Mode",
)
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"DELETE, GET, HEAD, POST, PUT"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match",
    ),
    (b"access-control-max-age", b"600"),
)


class Sharing:
    """Middleware that tells browsers whose pages may read an answer, refusals included; it refuses nobody itself."""

    def __init__(self, app: ASGIApp, settings: CorsSettings) -> None:
        self._app = app
        self._origins = frozenset(each.lower().encode() for each in settings.origins)
        self._everybody = EVERY_ORIGIN in settings.origins
        self._credentials = (_CREDENTIALS,) if settings.credentials else ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what a browser asks in advance for a page that may, or go on."""
        kind: str = scope["type"]
        if kind != "http":
            await self._app(scope, receive, send)
            return
        asked = cast("HTTPScope", scope)
        shared = self._shared_with(asked)
        if shared and _is_preflight(asked):
            headers = [*shared, *_PREFLIGHT]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        # What is kept between here and the browser must not be given to a page of another origin.
        told = (*shared, _READABLE) if shared else (_VARIES,)

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *told]
            await send(message)

        await self._app(scope, receive, telling)

    def _shared_with(self, scope: HTTPScope) -> Headers:
        """The headers that let the page read, none where it may not."""
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if len(origins) != 1 or not (self._everybody or origins[0] in self._origins):
            return ()
        allowed = b"*" if self._everybody else origins[0]
        return ((b"access-control-allow-origin", allowed), _VARIES, *self._credentials)


def _is_preflight(scope: HTTPScope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )

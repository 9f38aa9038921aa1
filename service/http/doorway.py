"""The outermost layer: every exchange gets a request id and a trace, and every answer shows the id."""

from collections.abc import Callable
from typing import Final, cast

from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from service.http.metrics import Metrics
from service.http.sockets import method_of
from service.ids import NewId
from service.reliability.tracing import TRACE, Trace, Traces

REQUEST_ID_HEADER: Final = b"x-request-id"
Headers = tuple[tuple[bytes, bytes], ...]


class Doorway:
    """Wraps the whole application, unknown paths and refused methods included.

    The id is always the server's own: one taken from the caller could be made to equal another's
    in the audit log. `also` gives the headers that all answers have for now.
    """

    def __init__(
        self,
        app: ASGIApp,
        new_id: NewId,
        metrics: Metrics,
        traces: Traces,
        also: Callable[[], Headers] = tuple,
    ) -> None:
        self._app = app
        self._new_id = new_id
        self._metrics = metrics
        self._traces = traces
        self._also = also

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one exchange, or the lifespan."""
        if scope["type"] not in _EXCHANGES:
            await self._app(scope, receive, send)
            return
        request_id = self._new_id("req")
        trace = self._traces.begin(request_id, "http", method_of(scope))

        def answered(status: int) -> None:
            self._metrics.count(status)
            trace.status = status
            if status == _SWITCHING:
                # What is said on a socket has traces of its own.
                self._finish(scope, trace)

        send_stamped = stamped(scope, send, request_id, answered, self._also)
        scope["state"][TRACE] = trace
        try:
            await self._app(scope, receive, send_stamped)
        finally:
            self._finish(scope, trace)

    def _finish(self, scope: Scope, trace: Trace) -> None:
        trace.route = scope.get("path_template", "")
        self._traces.finish(trace)


def stamped(
    scope: Scope,
    send: Send,
    request_id: str,
    count: Callable[[int], None] | None = None,
    also: Callable[[], Headers] = tuple,
) -> Send:
    """Give an exchange its id; return a `send` whose answer shows it. `count` hears the status of the answer."""
    scope.setdefault("state", {})["request_id"] = request_id
    stamp = (REQUEST_ID_HEADER, request_id.encode())

    async def send_stamped(message: Message) -> None:
        if message["type"] in _STARTS:
            start = cast("HTTPResponseStartEvent", message)
            if count is not None:
                count(start.get("status", _SWITCHING))
            start["headers"] = [*start.get("headers", ()), stamp, *also()]
        await send(message)

    return send_stamped


_SWITCHING: Final = 101
_EXCHANGES: Final[frozenset[str]] = frozenset({"http", "websocket"})
_STARTS: Final[frozenset[str]] = frozenset(
    {"http.response.start", "websocket.http.response.start", "websocket.accept"}
)

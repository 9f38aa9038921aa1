"""HTTP as callers send it, within bounds: what a connection may cost before anybody knows whose it is.

uvicorn's httptools protocol bounds nothing before a head is whole, and its h11 protocol, which bounds the head, costs
twice as much a request. So this is the former, with the bounds around it: of bytes, of headers, of time, of requests
that wait behind one another, and of connections.
"""

import asyncio
import sys
from typing import TYPE_CHECKING, Final, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.auth.credentials import Actor
from service.http.connections import Connections, room_for_callers
from service.http.doorway import REQUEST_ID_HEADER
from service.http.problems import MEDIA_TYPE, Problem
from service.ids import NewId, random_id

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from websockets.frames import Frame


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one connection; times in seconds, sizes in bytes.

    `parts` is how many frames one message of a WebSocket may come in, `head_s` is for a whole head, `body_s` for the body
    after it, `unread_s` for an answer that its caller does not read.
    """

    head_bytes: int = 16_384
    path_bytes: int = 2_048
    headers: int = 64
    unread_body_bytes: int = 1_000_000
    waiting_requests: int = 16
    parts: int = 1024
    head_s: float = 10.0
    body_s: float = 30.0
    unread_s: float = 30.0


class _Refused(Exception):
    """A head that is not read to its end: its status, title and what is wrong with it."""

    def __init__(self, status: int, title: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(status, title, code, detail, "")


_MALFORMED: Final = Problem(400, "Bad request", "invalid_request", "this is not HTTP/1.1", "")
_LATE: Final = Problem(408, "Request timeout", "too_slow", "the request did not end in time", "")
_REASONS: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
}


class BoundedHttp(HttpToolsProtocol):
    """One connection, within `limits`, and one of `connections`."""

    limits: Limits
    held: Connections
    new_id: NewId

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection in; its first head has to come in time."""
        super().connection_made(transport)
        self._gone = False
        self._reading = False  # a message that has begun and has not ended
        self._in_head = False
        self._head_bytes = self._came_bytes = 0
        self._unread_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._wait(self.limits.head_s)
        self.held.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection and its timers."""
        self._leave()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read what came, and no more of a head than is allowed."""
        most = self.limits.head_bytes
        if len(data) <= most:
            self._take(data)
            return
        # In parts, so that a head that is too long is known before all of it was read.
        for begin in range(0, len(data), most):
            if self._gone or self.transport.is_closing():
                return
            self._take(data[begin : begin + most])

    def _take(self, data: bytes) -> None:
        began_in_head, was_reading = self._in_head, self._reading
        self._came_bytes = len(data)
        if not began_in_head:
            self._head_bytes = 0
        super().data_received(data)
        if self._gone or self.transport.is_closing():
            return
        if self._reading:
            self._go_on_reading(began_in_head, was_reading)
        elif not (self._is_answering() or self._deadline or self.timeout_keep_alive_task):
            # Whatever comes stops uvicorn's timer, and only the end of an answer starts it.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _go_on_reading(self, began_in_head: bool, was_reading: bool) -> None:
        """Bound what is to come of a request that has not ended with what came."""
        if self._in_head:
            # What the parser holds of a header that has not ended is seen by nobody else.
            self._head_bytes += self._came_bytes
            # It may have begun at the end of the first of the parts that are counted.
            if self._head_bytes > 2 * self.limits.head_bytes:
                self._refuse(_too_large("head", self.limits.head_bytes).problem)
                return
        elif not self._is_answering():
            # Nobody reads the body any more: when it is long, the connection ends.
            self._unread_bytes += self._came_bytes
            if self._unread_bytes > self.limits.unread_body_bytes:
                self.transport.close()
                return
        if not was_reading or (began_in_head and not self._in_head):
            self._wait(self.limits.head_s if self._in_head else self.limits.body_s)

    def on_message_begin(self) -> None:
        """Begin with a head."""
        super().on_message_begin()
        self._reading = self._in_head = True
        self._unread_bytes = 0

    def on_headers_complete(self) -> None:
        """Look at the whole head, and have it answered."""
        if len(self.headers) > self.limits.headers:
            raise _Refused(431, "Too many headers", "head_too_large", "there are too many headers")
        # Most heads come at one go, and are no longer than what came.
        if self._head_bytes + self._came_bytes > self.limits.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > self.limits.head_bytes:
                raise _too_large("head", self.limits.head_bytes)
        if len(self.url.partition(b"?")[0]) > self.limits.path_bytes:
            raise _Refused(414, "Path too long", "path_too_long", "the path is too long")
        if len(self.pipeline) >= self.limits.waiting_requests:
            raise _Refused(400, "Bad request", "invalid_request", "too many requests wait")
        self._in_head = False
        self._stop_waiting()
        self.held.serve(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request; its answer takes as long as it takes."""
        super().on_message_complete()
        self._reading = False
        self._stop_waiting()

    def on_response_complete(self) -> None:
        """Note whose connection it is."""
        if not self.pipeline:
            self.held.rest(self, _caller(self.cycle.scope))
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the protocol of WebSockets, which takes it in again."""
        self._leave()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Give whoever does not read its answers some time."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.limits.unread_s, self.give_way)

    def resume_writing(self) -> None:
        """Be content: the answer is being read."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection; where even the last answer was not read, without waiting for that."""
        if not self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.give_way()
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words say less
        """Refuse what the parser, or a bound, stopped at."""
        found = sys.exception()
        cause = None if found is None else found.__context__
        self._refuse(cause.problem if isinstance(cause, _Refused) else _MALFORMED)

    def _refuse(self, problem: Problem) -> None:
        """Answer `problem` and close; whoever waits for another answer must not take this one for it."""
        if self._is_answering():
            self.give_way()
            return
        request_id = self.new_id("req")
        body = msgspec.json.encode(msgspec.structs.replace(problem, request_id=request_id))
        head = [
            b"HTTP/1.1 %d %s" % (problem.status, _REASONS[problem.status]),
            b"content-type: " + MEDIA_TYPE.encode(),
            b"content-length: %d" % len(body),
            REQUEST_ID_HEADER + b": " + request_id.encode(),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()

    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and (not cycle.response_complete or bool(self.pipeline))

    def _wait(self, within_s: float) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(within_s, self._late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        """End a connection whose request did not end in time; one that never began is owed no answer."""
        self._deadline = None
        if self._in_head:
            self._refuse(_LATE)
        self.transport.close()

    def _leave(self) -> None:
        self._gone = True
        self._stop_waiting()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        self.held.leave(self)


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket as one of the connections that are `held`."""

    limits: Limits
    held: Connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in; whose it is is known once the socket is accepted."""
        super().connection_made(transport)
        self.held.join(self)
        self.held.serve(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection."""
        self.held.leave(self)
        super().connection_lost(exc)

    def give_way(self) -> None:
        """End the connection at once: there are too many."""
        self.transport.abort()

    def handle_ping(self) -> None:
        """Answer, unless earlier answers are not read: what is owed to whoever does not read does not grow."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: "Frame") -> None:
        """Take a part of a message; their sizes are bounded, and so is how many there are, as they may be empty."""
        if len(self.frames) >= self.limits.parts:
            self.transport.abort()
        else:
            super().handle_cont(event)

    def keepalive_timeout(self) -> None:
        """End a connection whose other side is gone, or does not read."""
        super().keepalive_timeout()
        self._end_unread()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Give whoever does not read the end some time."""
        super().on_task_complete(task)
        if self.transport.get_write_buffer_size():
            self.loop.call_later(self.limits.unread_s, self._end_unread)

    def _end_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    async def send(self, message: "ASGISendEvent") -> None:
        """Send, and note whose socket was accepted, and that one which was refused needs no other answer."""
        if message["type"] == "websocket.accept" and (actor := _caller(self.scope)):
            self.held.serve(self, actor)
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True


def bounded(
    limits: Limits, room: int | None = None
) -> tuple[type[BoundedHttp], type[BoundedSocket]]:
    """Make the protocols of one server, whose connections are held together: of HTTP, and of WebSockets."""
    held = Connections(room_for_callers() if room is None else room)
    shared = {"held": held, "limits": limits, "new_id": staticmethod(random_id)}
    return (
        type("Http", (BoundedHttp,), dict(shared)),
        type("Socket", (BoundedSocket,), dict(shared)),
    )


def _caller(scope: object) -> str | None:
    """Whom authentication found behind a request, if anybody."""
    actor = scope.get("user") if isinstance(scope, dict) else None
    return actor.id if isinstance(actor, Actor) else None


def _too_large(what: str, limit: int) -> _Refused:
    return _Refused(
        431, "Head too large", "head_too_large", f"the {what} is longer than {limit} bytes"
    )

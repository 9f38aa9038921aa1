"""The connections of a load: keep-alive, one request at a time each, always read to the end.

A request is sent once. When its connection ends without an answer it may have happened (`info`); when
no connection could be made it certainly did not (`error`). Nothing is ever sent again.

A request that crosses the end of its connection may or may not have happened, so a client has to be first. It ends idle
connections before the server does; it looks at a connection before it uses it again; and as servers close after an answer
without saying so, the first answer of each sort is followed by a rest, in which such a close arrives.
"""

import asyncio
import errno
import re
import select
import socket
import time
from typing import Final, Protocol, cast

import msgspec
from msgspec import Struct

from chaos.answers import headers_column, is_plain
from chaos.evidence.schema import RequestOutcome
from chaos.http import AnswerReader, NotHttp, explain, open_socket
from chaos.load.plan import Plan

IDLE_S: Final = 0.5
"""How long a connection may be idle whose server says nothing about it, and of which nobody else has."""

SHARE_OF_KEEP_ALIVE: Final = 0.8
"""Of the time that a server keeps an idle connection: what is sent then still arrives within it."""

UNUSED_S: Final = 10.0
"""How long a connection may wait for its first request: as long as it may take to open those beside it."""

REST_S: Final = 0.02
"""How long a connection rests after the first answer of its sort, so that a close that nobody announced is seen."""

KNOWN_HEADS: Final = 256
_OWN_FAULT: Final = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
_CLOSED: Final = "the connection was closed without a whole answer"
_CROSSED: Final = "a connection that was used before ended without a byte of the answer"
_KEPT_FOR: Final = re.compile(r"(?i)\btimeout\s*=\s*([0-9]{1,6})")

Sort = tuple[int, int]
"""Which message was answered, and with which status: what a server does after one answer it does after its like."""


class Listener(Protocol):
    """Who is told what became of the requests."""

    def answered(
        self, seq: int, columns: bytes, body: bytes, done_s: float, *, reused: bool
    ) -> None:
        """A whole answer was read; `columns` are the JSON members that follow from its head."""

    def free(self, now_s: float) -> None:
        """Whoever sent what was answered can send again: its connection has rested, or has gone."""

    def failed(
        self,
        seq: int,
        outcome: RequestOutcome,
        reason: str,
        reader: AnswerReader | None,
        *,
        reused: bool = False,
    ) -> None:
        """There will be no answer, and whoever sent it is free; `reader` holds what was read of one."""

    def unable(self, reason: str) -> None:
        """This machine, not the system under test, kept a request from being sent."""


class Outgoing(Struct, frozen=True, gc=False):
    """One request that is about to be sent; `message` is the number of its message in the plan."""

    seq: int
    message: int
    data: bytes
    head: bool
    deadline_s: float


class _Known(Struct, frozen=True):
    """What a head that was read before, byte for byte, says: the body's length, the columns, how long to be idle."""

    status: int
    length: int
    columns: bytes
    idle_s: float


class Client:
    """Connections to one address, opened as they are needed, at most `connections`."""

    def __init__(self, plan: Plan, listener: Listener, connections: int) -> None:
        self.plan = plan
        self.listener = listener
        self._connections = connections
        self.heads: dict[bytes, _Known] = {}
        # After answers of these sorts connections were seen to stay.
        self.staying: set[Sort] = set()
        kept_s = plan.keep_alive_s
        self.idle_s = IDLE_S if kept_s is None else SHARE_OF_KEEP_ALIVE * kept_s
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._opening: dict[asyncio.Task[None], Outgoing | None] = {}

    def room(self) -> int:
        """How many requests could be sent now, each on a connection of its own."""
        used = len(self._open) + len(self._opening)
        return len(self._idle) + self._connections - used

    def send(self, request: Outgoing, now_s: float) -> None:
        """Send on an idle connection, or on a new one."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable(now_s):
                connection.send(request)
                return
            connection.close()
        self._start(request)

    async def open_ahead(self, count: int, within_s: float, at_once: int = 100) -> None:
        """Have `count` fresh idle connections, or as many as can be had in time."""
        now_s = time.monotonic()
        until_s = now_s + within_s
        fresh = [c for c in self._idle if c.usable(until_s)]
        for connection in set(self._idle) - set(fresh):
            connection.close()
        self._idle[:] = fresh
        missing = min(count - len(fresh), self.room() - len(fresh))
        while missing > 0 and now_s < until_s:
            tasks = [self._start(None) for _ in range(min(missing, at_once))]
            await asyncio.wait(tasks, timeout=until_s - now_s)
            missing -= len(tasks)
            now_s = time.monotonic()

    def sweep(self, now_s: float) -> None:
        """Give up on requests whose time is over, and end connections that were idle for long enough."""
        for connection in [c for c in self._open if c.busy and c.deadline_s < now_s]:
            connection.give_up(f"no answer within {self.plan.timeout_s:g} s")
        for connection in [c for c in self._idle if c.idle_until_s <= now_s]:
            connection.close()
        self._idle[:] = [c for c in self._idle if c.alive]

    def stop(self, reason: str) -> None:
        """Give up on everything that is under way and close all connections."""
        for task, request in list(self._opening.items()):
            task.cancel()
            if request is not None:
                self.listener.failed(request.seq, "error", f"{reason} before it was sent", None)
        self._opening.clear()
        for connection in list(self._open):
            connection.give_up(reason)

    def opened(self, connection: "_Connection") -> None:
        """Called by a connection that can be used."""
        self._open.add(connection)

    def released(self, connection: "_Connection") -> None:
        """Called by a connection that has nothing to do."""
        self._idle.append(connection)

    def lost(self, connection: "_Connection") -> None:
        """Called by a connection that has ended."""
        self._open.discard(connection)

    def remember(self, data: bytes, reader: AnswerReader, columns: bytes) -> None:
        """Parse a head like that of the answer `data` only once: equal heads are equally framed."""
        head, mark, body = data.partition(b"\r\n\r\n")
        lengths = [value for name, value in reader.headers if name == "content-length"]
        chunked = any(name == "transfer-encoding" for name, _ in reader.headers)
        whole = body == reader.body and lengths == [str(len(body))]
        if not whole or chunked or not reader.reusable or reader.remark() is not None:
            return
        if len(self.heads) >= KNOWN_HEADS:
            self.heads.clear()
        self.heads[head + mark] = _Known(reader.status, len(body), columns, self.idle_after(reader))

    def idle_after(self, reader: AnswerReader) -> float:
        """For how long a connection may be idle after an answer: `Keep-Alive: timeout=5` is a word of the server's."""
        kept = _KEPT_FOR.search(reader.field("keep-alive"))
        return self.idle_s if kept is None else SHARE_OF_KEEP_ALIVE * int(kept[1])

    def _start(self, request: Outgoing | None) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._connect(request))
        self._opening[task] = request
        task.add_done_callback(lambda done: self._opening.pop(done, None))
        return task

    async def _connect(self, request: Outgoing | None) -> None:
        left_s = self.plan.timeout_s if request is None else request.deadline_s - time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                connection = await self._connection()
        except OSError as error:
            # A time-out of asyncio's own has no number.
            reason = explain(error) if error.errno else f"no connection within {left_s:.3g} s"
            if error.errno in _OWN_FAULT:
                self.listener.unable(reason)
            if request is not None:
                self.listener.failed(request.seq, "error", reason, None)
            return
        if request is None:
            self.released(connection)
        elif not connection.alive:
            self.listener.failed(request.seq, "error", "closed before the request was sent", None)
        else:
            connection.send(request)

    async def _connection(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        sock = open_socket(self.plan.source)
        try:
            await loop.sock_connect(sock, (self.plan.host, self.plan.port))
            _, connection = await loop.create_connection(lambda: _Connection(self, sock), sock=sock)
        except BaseException:
            sock.close()
            raise
        return connection


class _Connection(asyncio.Protocol):
    __slots__ = (
        "_client",
        "_head",
        "_heads",
        "_listener",
        "_reader",
        "_resting",
        "_seen_now",
        "_sort",
        "_transport",
        "alive",
        "busy",
        "deadline_s",
        "idle_until_s",
        "message",
        "reused",
        "seq",
    )

    def __init__(self, client: Client, own_socket: socket.socket) -> None:
        self._client = client
        # What the kernel knows and the loop has not read yet.
        poll = select.poll()
        poll.register(own_socket, select.POLLIN | select.POLLRDHUP)
        self._seen_now = poll.poll
        self._heads = client.heads
        self._listener = client.listener
        self._reader: AnswerReader | None = None
        self._head = False
        self._resting = False
        # Of its last answer; None before there was one.
        self._sort: Sort | None = None
        self.alive = False
        self.busy = False
        self.reused = False
        self.seq = self.message = -1
        self.deadline_s = 0.0
        self.idle_until_s = 0.0

    def usable(self, then_s: float) -> bool:
        """Whether a request that is sent at that time does not find it idle for too long, or ended already."""
        if not self.alive or self.idle_until_s <= then_s:
            return False
        if not self._seen_now(0):
            return True
        # The loop has not read it yet: an end, or bytes that nobody asked for.
        self._distrust()
        return False

    def send(self, request: Outgoing) -> None:
        self.busy = True
        self.reused = self._sort is not None
        self.seq = request.seq
        self.message = request.message
        self.deadline_s = request.deadline_s
        self._head = request.head
        self._transport.write(request.data)

    def close(self) -> None:
        self.alive = False
        self._transport.close()

    def give_up(self, reason: str) -> None:
        """End the connection; a request that is under way may have happened."""
        self._break(reason)
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by class.
        self._transport = cast(asyncio.Transport, transport)
        self.alive = True
        self.idle_until_s = time.monotonic() + UNUSED_S
        self._client.opened(self)

    def data_received(self, data: bytes) -> None:
        now_s = time.monotonic()
        if self._reader is None and self.busy and not self._head:
            end = data.find(b"\r\n\r\n") + 4
            known = self._heads.get(data[:end])
            if known is not None and len(data) - end == known.length:
                body = data[end:]
                if is_plain(body):
                    self._whole(known.status, known.idle_s, known.columns, body, now_s)
                    return
        self._read(data, now_s)

    def _read(self, data: bytes, now_s: float) -> None:
        if not self.busy:
            # Nobody asked for this: whatever comes next could not be told apart from it.
            self.give_up("bytes arrived that nobody asked for")
            return
        reader = self._reader
        if reader is None:
            reader = AnswerReader(head=self._head)
        try:
            reader.feed(data)
        except NotHttp as error:
            self._reader = reader
            self.give_up(str(error))
            return
        if not reader.complete:
            self._reader = reader
            return
        columns = answer_columns(reader)
        if self._reader is None and not self._head:
            self._client.remember(data, reader, columns)
        self._finish(reader, columns, now_s)

    def _finish(self, reader: AnswerReader, columns: bytes, now_s: float) -> None:
        idle_s = self._client.idle_after(reader) if reader.reusable else None
        self._whole(reader.status, idle_s, columns, reader.content(), now_s)

    def _whole(
        self, status: int, idle_s: float | None, columns: bytes, body: bytes, now_s: float
    ) -> None:
        """A whole answer was read; without an `idle_s` it was the last one."""
        self.busy = False
        self._reader = None
        if idle_s is None:
            self.close()
        else:
            self._stay(status, now_s + idle_s)
        self._listener.answered(self.seq, columns, body, now_s, reused=self.reused)
        if not self._resting:
            self._listener.free(now_s)

    def _stay(self, status: int, until_s: float) -> None:
        """Be there for another request, at once only where connections are known to stay."""
        self._sort = (self.message, status)
        self.idle_until_s = until_s
        if self._sort in self._client.staying:
            self._client.released(self)
        else:
            self._resting = True
            asyncio.get_running_loop().call_later(REST_S, self._rested)

    def _rested(self) -> None:
        if not self._resting or not self.alive:
            return
        self._resting = False
        if self._sort is not None:
            self._client.staying.add(self._sort)
        self._client.released(self)
        self._listener.free(time.monotonic())

    def _distrust(self) -> None:
        """The server ended a connection that was to stay: the next answers of its sort are rested after."""
        if self._sort is not None:
            self._client.staying.discard(self._sort)

    def eof_received(self) -> None:
        self.alive = False
        reader = self._reader
        if reader is None:
            return
        reader.feed_eof()
        if reader.complete:
            self._finish(reader, answer_columns(reader), time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.lost(self)
        self._break(explain(exc) if isinstance(exc, OSError) else _CLOSED)

    def _break(self, reason: str) -> None:
        self.alive = False
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        if self._resting:
            self._resting = False
            self._listener.free(time.monotonic())
        elif self.busy:
            self.busy = False
            if reader is None and self.reused and reason == _CLOSED:
                self._distrust()
                reason = _CROSSED
            self._listener.failed(self.seq, "info", reason, reader, reused=self.reused)


def answer_columns(reader: AnswerReader) -> bytes:
    """The columns of `responses` that follow from a whole answer, its body left out."""
    return b'"status":%d,"outcome":"ok","error":%b,"close_framed":%b,"headers":%b' % (
        reader.status,
        msgspec.json.encode(reader.remark()),
        b"true" if reader.close_framed else b"false",
        headers_column(reader.headers),
    )

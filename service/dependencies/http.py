"""A lean HTTP/1.1 client for calls between processes: pooled connections, every wait bounded.

Why not a general client: a failing dependency must cost its callers a known time, the pool must be
emptied in one step when a link breaks, and a request that may have had an effect must never be sent twice.
What it does not do, it does not need here: redirects, cookies, proxies, compression, HTTP/2.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import httptools
import msgspec

READ_BYTES = 65536
USER_AGENT = "sonia"


class HttpError(Exception):
    """A request without a usable answer. `sent`: some of it may have reached the server."""

    sent = False


class ConnectFailed(HttpError):
    """No connection was made: refused, unreachable, or not in time. The request was not sent."""


class PoolExhausted(HttpError):
    """No connection slot became free in time. It says nothing about the server; the request was not sent."""


class AnswerTimeout(HttpError):
    """The request was sent and no whole answer came in time."""

    sent = True


class ConnectionLost(HttpError):
    """The connection ended before the whole answer came."""

    sent = True


class BadAnswer(HttpError):
    """What came back is not HTTP, or is larger than allowed."""

    sent = True


class HttpLimits(msgspec.Struct, frozen=True):
    """Bounds of one client; times in seconds, sizes in bytes.

    `idle_s` must stay below the server's keep-alive time, so that the client is first to drop a connection.
    """

    connect_s: float = 1.0
    idle_s: float = 15.0
    connections: int = 128
    max_answer_bytes: int = 8 * 1024 * 1024


class HttpRequest(msgspec.Struct, frozen=True):
    """One request below the client's base URL.

    `within_s` bounds everything: waiting for a slot, connecting, sending and reading. A `repeatable` request
    may go out a second time if the pooled connection it took turns out to be dead before a byte of answer
    came (RFC 9112 section 9.3.1); one that is not gets a connection of its own and goes out once.
    """

    method: str
    path: str
    within_s: float
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    repeatable: bool = True


class HttpAnswer(msgspec.Struct, frozen=True):
    """A whole answer: status, headers (names in lower case, the last of equals) and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def require(self, status: int) -> None:
        """Raises BadAnswer unless the status is `status`."""
        if self.status != status:
            raise BadAnswer(f"status {self.status} instead of {status}")


class _Collector:
    """Callbacks of httptools' response parser; gathers one answer."""

    def __init__(self, max_bytes: int) -> None:
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.headers_done = False
        self.done = False
        self._max_bytes = max_bytes

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.headers_done = True

    def on_body(self, body: bytes) -> None:
        if len(self.body) + len(body) > self._max_bytes:
            raise BadAnswer(f"the answer is larger than {self._max_bytes} bytes")
        self.body += body

    def on_message_complete(self) -> None:
        self.done = True

    def closing(self) -> bool:
        """Whether the server will end the connection after this answer."""
        return "close" in self.headers.get("connection", "").lower()

    def ended_by_close(self) -> bool:
        """Whether the end of the connection is the end of the body (RFC 9112 section 6.3, rule 8)."""
        return (
            self.headers_done
            and "content-length" not in self.headers
            and "transfer-encoding" not in self.headers
        )


class _Connection:
    """One connection; not shared between requests that overlap."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pool_epoch: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.pool_epoch = pool_epoch
        self.idle_since_s = 0.0
        self.answered_any = False

    def usable(self) -> bool:
        return not (self._reader.at_eof() or self._writer.is_closing())

    def abort(self) -> None:
        self._writer.transport.abort()

    async def exchange(self, raw: bytes, max_bytes: int) -> tuple[HttpAnswer, bool]:
        """Send `raw`, return the answer and whether the connection may be used again."""
        collector = _Collector(max_bytes)
        parser = httptools.HttpResponseParser(collector)
        self.answered_any = False
        self._writer.write(raw)
        await self._writer.drain()
        while not collector.done:
            data = await self._reader.read(READ_BYTES)
            if not data:
                if collector.ended_by_close():
                    break
                raise ConnectionLost("the connection ended before the whole answer came")
            self.answered_any = True
            _feed(parser, data)
        answer = HttpAnswer(parser.get_status_code(), collector.headers, bytes(collector.body))
        return (
            answer,
            collector.done and parser.get_http_version() == "1.1" and not collector.closing(),
        )


def _feed(parser: httptools.HttpResponseParser, data: bytes) -> None:
    try:
        parser.feed_data(data)
    except httptools.HttpParserError as error:
        # An exception of a callback arrives wrapped; the size limit is the only one that callbacks raise.
        if isinstance(error.__context__, BadAnswer):
            raise error.__context__ from None
        raise BadAnswer(f"not an HTTP answer: {error}") from None


class _Progress:
    """How far a request got, to tell a time-out that says something about the server from one that does not."""

    def __init__(self) -> None:
        self.has_slot = False
        self.sending = False

    def timeout_error(self, within_s: float) -> HttpError:
        if not self.has_slot:
            return PoolExhausted(f"no free connection slot within {within_s} s")
        if not self.sending:
            return ConnectFailed(f"no connection within {within_s} s")
        return AnswerTimeout(f"no whole answer within {within_s} s")


class HttpClient:
    """Requests to one base URL. Belongs to one event loop.

    `base_url`: http or https, with an optional path prefix. `headers` go with every request. `clock` gives
    monotonic seconds. Errors: ValueError for a URL that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        limits: HttpLimits,
        clock: Callable[[], float],
    ) -> None:
        parts = urlsplit(base_url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
        ):
            raise ValueError(f"not a usable http(s) base URL: {base_url!r}")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.prefix = parts.path.rstrip("/")
        self._head = _header_lines(
            {
                "Host": parts.netloc.rpartition("@")[2],
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                **headers,
            }
        )
        self._limits = limits
        self._clock = clock
        self._idle: deque[_Connection] = deque()
        self._slots = asyncio.Semaphore(limits.connections)
        self._pool_epoch = 0

    def drop_idle(self) -> None:
        """Forget every pooled connection, also those in use now: after a fault only fresh ones are trusted."""
        self._pool_epoch += 1
        while self._idle:
            self._idle.pop().abort()

    async def send(self, request: HttpRequest) -> HttpAnswer:
        """Send one request and return its whole answer, whatever its status.

        Raises a subclass of HttpError; cancellation closes the connection.
        """
        raw = self._serialize(request)
        progress = _Progress()
        try:
            async with asyncio.timeout(request.within_s), self._slots:
                progress.has_slot = True
                return await self._send(raw, request.repeatable, progress)
        except TimeoutError:
            raise progress.timeout_error(request.within_s) from None

    async def _send(self, raw: bytes, repeatable: bool, progress: _Progress) -> HttpAnswer:
        pooled = self._take_idle() if repeatable else None
        if pooled is not None:
            try:
                return await self._exchange(pooled, raw, progress, keep=True)
            except ConnectionLost:
                if pooled.answered_any:
                    raise
        # What takes none from the pool must not add to it either, or the pool grows with every request.
        return await self._exchange(await self._connect(), raw, progress, keep=repeatable)

    async def _exchange(
        self, connection: _Connection, raw: bytes, progress: _Progress, *, keep: bool
    ) -> HttpAnswer:
        progress.sending = True
        try:
            answer, reusable = await connection.exchange(raw, self._limits.max_answer_bytes)
        except OSError as error:
            connection.abort()
            raise ConnectionLost(f"the connection broke: {error}") from None
        except BaseException:
            # Also when cancelled: half an answer must never be read by the next request.
            connection.abort()
            raise
        if keep and reusable and connection.pool_epoch == self._pool_epoch:
            connection.idle_since_s = self._clock()
            self._idle.append(connection)
            # The newest are taken first: the oldest would stay for as long as there are newer ones.
            while self._idle and not self._is_fresh(self._idle[0]):
                self._idle.popleft().abort()
        else:
            connection.abort()
        return answer

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if self._is_fresh(connection):
                return connection
            connection.abort()
        return None

    def _is_fresh(self, connection: _Connection) -> bool:
        return connection.usable() and self._clock() - connection.idle_since_s < self._limits.idle_s

    async def _connect(self) -> _Connection:
        epoch = self._pool_epoch
        try:
            async with asyncio.timeout(self._limits.connect_s):
                reader, writer = await asyncio.open_connection(
                    self._host, self._port, ssl=self._tls
                )
        except TimeoutError:
            raise ConnectFailed(f"no connection within {self._limits.connect_s} s") from None
        except OSError as error:
            raise ConnectFailed(f"cannot connect: {error}") from None
        return _Connection(reader, writer, epoch)

    def _serialize(self, request: HttpRequest) -> bytes:
        body = request.body
        content = (
            {}
            if body is None
            else {"Content-Type": "application/json", "Content-Length": str(len(body))}
        )
        start = f"{request.method} {self.prefix}{request.path} HTTP/1.1\r\n".encode("ascii")
        return (
            start
            + self._head
            + _header_lines({**content, **request.headers})
            + b"\r\n"
            + (body or b"")
        )


def labelled(request_id: str) -> dict[str, str]:
    """The header that carries a request's id from process to process."""
    return {"X-Request-Id": request_id}


def _header_lines(headers: Mapping[str, str]) -> bytes:
    lines = []
    for name, value in headers.items():
        if any(character in value for character in "\r\n\0"):
            raise ValueError(f"header {name} holds a line break")
        lines.append(f"{name}: {value}\r\n")
    with contextlib.suppress(UnicodeEncodeError):
        return "".join(lines).encode("latin-1")
    raise ValueError("a header holds a character outside ISO 8859-1")

"""One HTTP/1.1 request on one connection, and what became of it.

The client does what it is told and nothing else: it never retries, never follows a redirect, never
stops reading before the end, and turns every outcome of the network into data. Reading follows
RFC 9112: answers are framed by length, by chunks or by the close of the connection; interim (1xx)
answers are passed over; HEAD, 204 and 304 have no body.
"""

import asyncio
import os
import re
import socket
import ssl as tls
import time
from collections.abc import Mapping, Sequence
from typing import cast

import httptools
from msgspec import Struct

from chaos.answers import MAX_BODY_BYTES, content, header_text
from chaos.evidence.schema import RequestOutcome

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH = re.compile(r"[\x21-\x7e]+")
_UNSAFE_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WITH_BODY = ("POST", "PUT", "PATCH")

Headers = Mapping[str, str] | Sequence[tuple[str, str]]
"""Names and values, as a mapping or, where a name may be repeated, as pairs."""


class Answer(Struct, frozen=True, kw_only=True):
    """What became of one request.

    `outcome` is `ok` when a whole answer was read, `error` when the request certainly never reached the
    system (nothing of it was sent), `info` when it may have been executed. Only an `ok` answer has a
    `status`; what was read of a broken one stays in `headers` and `body`, and `error` says how it broke, or what is to be
    said of one that is whole. `body` is without its content coding; nothing else told the end of one that is `close_framed`.
    Times are seconds of CLOCK_MONOTONIC; header names are in lower case, in the order of arrival.
    """

    status: int | None
    headers: list[tuple[str, str]]
    body: bytes
    outcome: RequestOutcome
    error: str | None
    close_framed: bool = False
    connected_s: float | None
    sent_s: float | None
    first_byte_s: float | None
    done_s: float


def build_request(
    method: str, path: str, host: str, headers: Headers = (), body: bytes | None = None
) -> bytes:
    """The bytes of a request; `Host` and `Content-Length` are added unless `headers` has them.

    ValueError when any part would end a line, or the path is not plain visible ASCII: a captured value
    can then never become a second header or a second request.
    """
    if not _METHOD.fullmatch(method):
        raise ValueError(f"not an HTTP method: {method!r}")
    if not _PATH.fullmatch(path):
        raise ValueError(f"a path must be visible ASCII without spaces, not {path!r}")
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in pairs}
    lines = [f"{method} {path} HTTP/1.1"]
    if "host" not in names:
        lines.append(_header_line("Host", host))
    lines.extend(_header_line(name, value) for name, value in pairs)
    framed = "content-length" in names or "transfer-encoding" in names
    if not framed and (body or method in _WITH_BODY):
        lines.append(f"Content-Length: {len(body or b'')}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def _header_line(name: str, value: str) -> str:
    if not _METHOD.fullmatch(name):
        raise ValueError(f"not a header name: {name!r}")
    if _UNSAFE_IN_VALUE.search(value) or not _is_latin_1(value):
        raise ValueError(f"the value of header {name} has characters that no header may have")
    return f"{name}: {value}"


def _is_latin_1(value: str) -> bool:
    return all(ord(character) < 256 for character in value)


class NotHttp(ValueError):
    """What arrived is not an HTTP answer."""


class AnswerReader:
    """Reads one answer from pieces of bytes. After `complete` it takes no more.

    `reusable` says whether the connection may carry another request; `dropped_bytes` how much of the body
    was beyond `max_body_bytes` and read without being kept; `close_framed` that only the close ended it.
    """

    def __init__(self, *, head: bool, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.complete = False
        self.reusable = True
        self.close_framed = False
        self.dropped_bytes = 0
        self._remarks: list[str] = []
        self._content: bytes | None = None
        self._head = head
        self._left = max_body_bytes
        self._in_body = False
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    @property
    def begun(self) -> bool:
        """Whether the status line and headers of the final answer were read."""
        return self._in_body or self.complete

    def feed(self, data: bytes) -> None:
        """Read more. NotHttp when it does not parse; what follows a complete answer is not read."""
        parser = self._parser
        if parser is None:
            self.reusable = False
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.reusable = False
        except httptools.HttpParserError as error:
            self.reusable = False
            if not self.complete:
                self.close()
                raise NotHttp(f"the answer is not HTTP: {error}") from error
        if self.complete:
            self.close()

    def close(self) -> None:
        """Read no more. Reader and parser hold each other: without this only the collector frees them."""
        self._parser = None

    def feed_eof(self) -> None:
        """The connection ended: this completes an answer that is framed by nothing else."""
        self.reusable = False
        self.close()
        framed = {"content-length", "transfer-encoding"} & {name for name, _ in self.headers}
        if self._in_body and not framed:
            self.complete = self.close_framed = True

    def on_message_begin(self) -> None:
        """Called by the parser; a second message on the connection is nobody's answer."""
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, trailers included."""
        if not self.complete:
            key = name.decode("latin-1").lower()
            text, remark = header_text(key, value)
            self.headers.append((key, text))
            if remark is not None:
                self._remarks.append(remark)

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self.complete:
            return
        parser = self._parser
        assert parser is not None
        self.status = parser.get_status_code()
        if 100 <= self.status < 200 and self.status != 101:
            self.headers.clear()
            self._remarks.clear()
            return
        self._in_body = True
        self.reusable = self.reusable and parser.should_keep_alive()
        self.complete = self._head or self.status == 101

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self.complete:
            self.reusable = False
            return
        kept = body[: self._left]
        self.body += kept
        self._left -= len(kept)
        self.dropped_bytes += len(body) - len(kept)

    def on_message_complete(self) -> None:
        """Called by the parser, for interim answers too."""
        self.complete = self.complete or self._in_body

    def remark(self) -> str | None:
        """What is to be said of a complete answer, or how an incomplete one broke off."""
        if self.complete:
            self.content()
            return "; ".join(self._remarks) or None
        if not self._in_body:
            return None
        remark = f"broke off after status {self.status} and {len(self.body)} bytes of body"
        if self.field("content-type").startswith("text/event-stream"):
            remark += " (a stream of events, which a `stream` step with `events: true` records)"
        return remark

    def field(self, name: str) -> str:
        """The value of a header, its repetitions joined by commas; empty when there is none."""
        return ", ".join(value for key, value in self.headers if key == name)

    def content(self) -> bytes:
        """The body of a complete answer as it is recorded: without its content coding, within the limit."""
        if self._content is None:
            codings = [name.strip().lower() for name in self.field("content-encoding").split(",")]
            self._content, remarks = content(
                bytes(self.body), filter(None, codings if self.body else ()), self.dropped_bytes
            )
            self._remarks += remarks
        return self._content


def open_socket(source: str | None) -> socket.socket:
    """A non-blocking TCP socket that will connect from the address `source`."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source is not None:
        # The port is chosen at connect, when the peer is known: many more can then be open.
        option = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_IP, option, 1)
        try:
            sock.bind((source, 0))
        except OSError:
            sock.close()
            raise
    return sock


async def send_once(
    host: str,
    port: int,
    request: bytes,
    *,
    source: str | None = None,
    timeout_s: float,
    ssl: tls.SSLContext | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> Answer:
    """Send `request` on a connection of its own and read the answer to its end.

    `timeout_s` bounds all of it, from connecting to the last byte. Whatever the network does is in the
    `Answer`; nothing is raised for it.
    """
    exchange = _Exchange(request, max_body_bytes)
    failure: str | None = None
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            await exchange.run(host, port, source, ssl)
    except OSError as error:
        # A time-out of the kernel's own is a TimeoutError too.
        failure = f"no answer within {timeout_s:g} s" if limit.expired() else explain(error)
    finally:
        exchange.abort()
    return exchange.answer(failure)


def explain(error: OSError) -> str:
    """What went wrong, without the addresses that asyncio adds."""
    if isinstance(error, tls.SSLError):
        return f"TLS: {error.reason or error}"
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


class _Exchange(asyncio.Protocol):
    def __init__(self, request: bytes, max_body_bytes: int) -> None:
        self._request = request
        self._reader = AnswerReader(
            head=request.startswith(b"HEAD "), max_body_bytes=max_body_bytes
        )
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._connected_s: float | None = None
        self._sent_s: float | None = None
        self._first_byte_s: float | None = None
        self._done_s: float | None = None
        self._broken: str | None = None

    async def run(
        self, host: str, port: int, source: str | None, ssl: tls.SSLContext | None
    ) -> None:
        loop = asyncio.get_running_loop()
        sock = open_socket(source)
        try:
            await loop.sock_connect(sock, (host, port))
            self._connected_s = time.monotonic()
            name = host if ssl is not None else None
            await loop.create_connection(lambda: self, sock=sock, ssl=ssl, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        assert self._transport is not None
        if self._transport.is_closing():
            raise ConnectionResetError("the connection was closed before the request was sent")
        self._sent_s = time.monotonic()
        self._transport.write(self._request)
        self._broken = await self._ended

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def answer(self, failure: str | None) -> Answer:
        reader = self._reader
        outcome: RequestOutcome = "ok" if reader.complete else "info"
        if self._sent_s is None:
            outcome = "error"
        reasons = (reader.remark(), None if reader.complete else failure or self._broken)
        return Answer(
            status=reader.status if outcome == "ok" else None,
            headers=reader.headers,
            body=reader.content() if reader.complete else bytes(reader.body),
            close_framed=reader.close_framed,
            outcome=outcome,
            error="; ".join(reason for reason in reasons if reason) or None,
            connected_s=self._connected_s,
            sent_s=self._sent_s,
            first_byte_s=self._first_byte_s,
            done_s=self._done_s or time.monotonic(),
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._first_byte_s = self._first_byte_s or time.monotonic()
        if self._ended.done():
            return
        try:
            self._reader.feed(data)
        except NotHttp as error:
            self._end(str(error))
            return
        if self._reader.complete:
            self._end(None)

    def eof_received(self) -> None:
        self._reader.feed_eof()
        self._end("the connection was closed without a whole answer")

    def connection_lost(self, exc: Exception | None) -> None:
        reason = explain(exc) if isinstance(exc, OSError) else "the connection was lost"
        self._end(reason)

    def _end(self, reason: str | None) -> None:
        if not self._ended.done():
            self._done_s = time.monotonic()
            self._ended.set_result(reason)

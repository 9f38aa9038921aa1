"""HTTP between processes: what a request is, what may come of it, and a client that keeps what calls rest on.

A failing process costs its callers a known time, a slot that was never free is not blamed on it, its connections are
given up in one step, and a request that may have had an effect goes out once. aiohttp does the work; it is imported when
the first request is about to be sent, as that takes a third as long as all else of a start.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from service.http.signatures import Signer
from service.keys import Link

if TYPE_CHECKING:
    from service.http.pool import Pool

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
    may go out a second time if the pooled connection it took turns out to be dead before an answer began
    (RFC 9112 section 9.3.1); one that is not gets a connection of its own and goes out once.
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


class Progress:
    """How far a request got, to tell a time-out that says something about the server from one that does not."""

    def __init__(self) -> None:
        self.waiting = False  # for a slot
        self.connected = False
        self.reused = False  # a connection that had served another request
        self.answered = False  # the answer began

    def timeout_error(self, within_s: float) -> HttpError:
        """Give what running out of time means now."""
        if self.waiting:
            return PoolExhausted(f"no free connection slot within {within_s} s")
        if not self.connected:
            return ConnectFailed(f"no connection within {within_s} s")
        return AnswerTimeout(f"no whole answer within {within_s} s")

    def may_repeat(self) -> bool:
        """Whether the connection may have died before the request was sent."""
        return self.reused and not self.answered


class HttpClient:
    """Requests to one base URL. Belongs to one event loop, in which it is closed.

    `base_url`: http or https, with an optional path prefix. `headers` go with every request. Errors: ValueError for
    a URL or a header that cannot be used.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], limits: HttpLimits) -> None:
        parts = urlsplit(base_url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
        ):
            raise ValueError(f"not a usable http(s) base URL: {base_url!r}")
        self._origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.prefix = parts.path.rstrip("/")
        self._headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **headers}
        _check_headers(self._headers)
        self._limits = limits
        self._kept: Pool | None = None
        self._single: Pool | None = None

    async def send(self, request: HttpRequest) -> HttpAnswer:
        """Send one request and return its whole answer, whatever its status.

        Raises a subclass of HttpError; cancellation closes the connection. The first request of a process also waits
        for the import.
        """
        kept, single = await self._pools()
        url = f"{self._origin}{self.prefix}{request.path}"
        progress = Progress()
        try:
            async with asyncio.timeout(request.within_s):
                if not request.repeatable:
                    return await self._exchange(single, url, request, progress)
                try:
                    return await self._exchange(kept, url, request, progress)
                except ConnectionLost:
                    if not progress.may_repeat():
                        raise
                progress = Progress()
                return await self._exchange(single, url, request, progress)
        except TimeoutError:
            raise progress.timeout_error(request.within_s) from None

    async def _exchange(
        self, pool: "Pool", url: str, request: HttpRequest, progress: Progress
    ) -> HttpAnswer:
        """Send `request` once, over `pool`. Raises HttpError."""
        return await pool.exchange(url, request, progress)

    async def renew(self) -> None:
        """Give up every connection that is kept, also those in use now: after a fault only fresh ones are trusted.

        What is in use ends its request first.
        """
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.retire()

    async def close(self) -> None:
        """Drop all connections."""
        for pool in (self._kept, self._single):
            if pool is not None:
                await pool.close()
        self._kept = self._single = None

    async def _pools(self) -> "tuple[Pool, Pool]":
        """Give the pool of connections that are used again, and the one of those that serve one request."""
        if self._kept is None or self._single is None:
            make = await asyncio.to_thread(_import_pool)
            self._kept = self._kept or make(self._headers, self._limits, keep=True)
            self._single = self._single or make(self._headers, self._limits, keep=False)
        return self._kept, self._single


class SignedClient(HttpClient):
    """Requests to the server of `link`, each signed, also a second time; an answer that is not signed by it is none."""

    def __init__(self, base_url: str, link: Link, limits: HttpLimits) -> None:
        super().__init__(base_url, {}, limits)
        self._link = link
        self._signer = Signer(link)

    async def _exchange(
        self, pool: "Pool", url: str, request: HttpRequest, progress: Progress
    ) -> HttpAnswer:
        target = f"{self.prefix}{request.path}"
        signed = self._signer.sign(request.method, target, request.body or b"")
        sent = msgspec.structs.replace(request, headers={**request.headers, **signed})
        answer = await super()._exchange(pool, url, sent, progress)
        if not self._signer.holds(signed, answer.status, answer.headers, answer.body):
            raise BadAnswer(
                f"an answer with status {answer.status} that {self._link.server} has not signed"
            )
        return answer


def labelled(request_id: str) -> dict[str, str]:
    """The header that carries a request's id from process to process."""
    return {"X-Request-Id": request_id}


def _import_pool() -> "type[Pool]":
    from service.http.pool import Pool  # noqa: PLC0415 - takes long to import, see above

    return Pool


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if any(character in value for character in "\r\n\0"):
            raise ValueError(f"header {name} holds a line break")

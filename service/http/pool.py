"""Connections to one server, by aiohttp. Imported when the first request is about to be sent."""

import os
from collections.abc import Mapping
from types import SimpleNamespace

import aiohttp

from service.http.client import (
    BadAnswer,
    ConnectFailed,
    ConnectionLost,
    HttpAnswer,
    HttpError,
    HttpLimits,
    HttpRequest,
    Progress,
)


class Pool:
    """As many connections as `limits` allow; with `keep` they serve further requests, else each serves one.

    `headers` go with every request.
    """

    def __init__(self, headers: Mapping[str, str], limits: HttpLimits, *, keep: bool) -> None:
        connector = (
            aiohttp.TCPConnector(limit=limits.connections, keepalive_timeout=limits.idle_s)
            if keep
            else aiohttp.TCPConnector(limit=limits.connections, force_close=True)
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            skip_auto_headers=("Accept-Encoding",),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Whoever sends bounds the whole; aiohttp's own bound would not tell what the time was lost with.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s),
            trace_configs=[_watching()],
            middlewares=(_send_once,),
        )
        self._max_answer_bytes = limits.max_answer_bytes
        self._busy = 0
        self._retired = False

    async def exchange(self, url: str, request: HttpRequest, progress: Progress) -> HttpAnswer:
        """Send `request` to `url`, keep `progress`, and return the whole answer. Raises HttpError."""
        self._busy += 1
        try:
            return await self._exchange(url, request, progress)
        except aiohttp.ClientError as error:
            raise _told(error) from None
        finally:
            self._busy -= 1
            if self._retired and not self._busy:
                await self.close()

    async def retire(self) -> None:
        """Close the connections, as soon as no request is on its way on one of them."""
        self._retired = True
        if not self._busy:
            await self.close()

    async def close(self) -> None:
        """Close all connections now."""
        await self._session.close()

    async def _exchange(self, url: str, request: HttpRequest, progress: Progress) -> HttpAnswer:
        content = {} if request.body is None else {"Content-Type": "application/json"}
        response = await self._session.request(
            request.method,
            url,
            data=request.body,
            headers={**content, **request.headers},
            allow_redirects=False,
            trace_request_ctx=progress,
        )
        progress.answered = True
        try:
            body = await self._read(response)
        finally:
            # Once the whole answer is there its connection is in the pool again, and this has no effect on it.
            response.close()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpAnswer(response.status, headers, body)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            if len(body) + len(chunk) > self._max_answer_bytes:
                raise BadAnswer(f"the answer is larger than {self._max_answer_bytes} bytes")
            body += chunk
        return bytes(body)


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a GET again by itself, which it does on a fresh connection, too."""
    try:
        return await handler(request)
    except aiohttp.ClientError as error:
        raise _told(error) from None


def _told(error: aiohttp.ClientError) -> HttpError:
    if isinstance(error, aiohttp.ClientConnectorError):
        return ConnectFailed(f"cannot connect: {_reason(error.os_error)}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectFailed("no connection in time")
    if isinstance(error, aiohttp.ClientResponseError):
        return BadAnswer(f"not an HTTP answer: {error.message}")
    return ConnectionLost("the connection ended before the whole answer came")


def _reason(error: OSError) -> str:
    """The system's own words, without the address that the event loop puts there."""
    number = error.errno or 0
    return f"[Errno {number}] {os.strerror(number)}" if number > 0 else str(error)


def _watching() -> aiohttp.TraceConfig:
    """Have aiohttp tell each request's Progress of its connection."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_queued_start.append(_queued)
    trace.on_connection_queued_end.append(_had_a_slot)
    trace.on_connection_create_end.append(_connected)
    trace.on_connection_reuseconn.append(_reused)
    return trace


async def _queued(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.waiting = True


async def _had_a_slot(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.waiting = False


async def _connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.connected = True


async def _reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.connected = context.trace_request_ctx.reused = True

"""`stream`: a WebSocket, or a stream of events, that is opened, written to, listened to and watched for its end."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from chaos import bounds, regular
from chaos.answers import (
    MAX_BODY_BYTES,
    body_column,
    content,
    document,
    header_text,
    headers_column,
)
from chaos.engine.scope import Endpoint, Scope, Sender
from chaos.engine.stack import HARNESS_SOURCE
from chaos.engine.wire import merge_headers
from chaos.events import Event, EventsAnswer
from chaos.evidence import schema
from chaos.evidence.recorder import NULL, as_json
from chaos.http import NotHttp, build_request, explain, open_socket
from chaos.spec.kind import Kind
from chaos.spec.step import Spec, Step
from chaos.spec.units import Duration, Rate

OPEN_WITHIN_S: Final = 10.0
CLOSE_WITHIN_S: Final = 2.0
_CHUNK_BYTES: Final = 65_536
# Of copies that are longer the first is kept, so that a flood is no flood of evidence.
_COPIED_BYTES: Final = 4096


class Message(Spec, frozen=True, kw_only=True):
    """One frame to send: `json` or `text` as text, `hex` or `file` as binary; `times` copies of it."""

    json: object = None
    text: str | None = None
    hex: str | None = None
    file: str | None = None
    times: int = 1

    def problem(self) -> str | None:
        """Why this is no frame, or None."""
        contents = (self.json, self.text, self.hex, self.file)
        if sum(content is not None for content in contents) != 1:
            return "a message needs exactly one of json, text, hex and file"
        if self.hex is not None and re.fullmatch("([0-9a-fA-F]{2})*", self.hex) is None:
            return f"{self.hex!r} is not a list of bytes in hexadecimal"
        return "`times` must be at least 1" if self.times < 1 else None


class Stream(Step, frozen=True, kw_only=True):
    """`stream: idle` with `open: /v1/stream`; the inner steps of `meanwhile` run while it is open.

    It is a WebSocket, or with `events: true` a stream of server-sent events, which is only read.
    `subprotocols` are offered in this order; `send` goes out after opening, at `rate` where one is given;
    `read: false` never reads, `late: true` begins when all of that was sent. After `meanwhile` it waits up to `linger` for the other side to close it, or
    to have sent `until` frames, then closes it itself. `expect` may speak of `status` (101, or of the
    refusal; 200 of events), `close` (the other side's code) and `json` (the last text or event received). `within` bounds
    the opening.
    """

    stream: str
    open: str
    events: bool = False
    subprotocols: list[str] = []
    headers: dict[str, str] = {}
    send: list[Message] = []
    rate: Rate | None = None
    read: bool = True
    late: bool = False
    linger: Duration = Duration("0ms")
    until: int | None = None
    meanwhile: list[Step] = []

    def problem(self) -> str | None:
        """The first message that is none, or an end that would not be seen."""
        if self.until is not None and (self.until < 1 or not self.read):
            return "`until` counts frames that are read, at least 1"
        if self.late and (self.events or not self.read):
            return "`late` reads, once something was sent"
        if sum(message.times for message in self.send) > bounds.FRAMES:
            return f"more than {bounds.FRAMES} frames are sent"
        if self.events and (self.send or self.rate is not None or self.subprotocols):
            return "a stream of events is only read: it has no `send`, `rate` and `subprotocols`"
        return next(filter(None, (message.problem() for message in self.send)), None)

    def least_s(self) -> float:
        """What it waits between the frames that it sends."""
        frames = sum(message.times for message in self.send)
        return frames / self.rate.per_s if self.rate is not None else 0.0


class _Connect(connect):
    """Opens one connection to where it is told to: whatever the handshake is answered with, nothing is followed."""

    opened: ClientConnection | None = None
    """The connection that the handshake was made on, with what answered it."""

    async def open_tcp_connection(self) -> ClientConnection:
        """Called once."""
        self.opened = await super().open_tcp_connection()
        return self.opened

    def process_redirect(self, exc: Exception) -> Exception:
        """Called with what a handshake failed by: it stays a failure, a redirect as well."""
        return exc


class _Seen(msgspec.Struct):
    """What an `expect` may speak of."""

    status: int | None = None
    close: int | None = None
    json: object = None


async def run(step: Stream, scope: Scope) -> int | None:
    """Open, send, listen while the inner steps run, wait for the end, record every frame."""
    endpoint = scope.endpoint(step)
    recording = _Recording(step, scope, endpoint)
    within_s = step.within.s if step.within is not None else OPEN_WITHIN_S
    opened = await (_events if step.events else _web_socket)(
        step, scope, endpoint, recording, within_s
    )
    if not opened:
        scope.skip_steps(step.meanwhile, "meanwhile", recording.why)
    scope.check(step.expect, msgspec.structs.asdict(recording.seen))
    return 1 if step.meanwhile and opened else None


async def _web_socket(
    step: Stream, scope: Scope, endpoint: Endpoint, recording: "_Recording", within_s: float
) -> bool:
    """Whether it could be opened; it has ended then."""
    url = f"ws://{endpoint.host}:{endpoint.port}{scope.variables.text(step.open)}"
    opening = _Connect(
        url,
        subprotocols=[Subprotocol(scope.variables.text(name)) for name in step.subprotocols]
        or None,
        additional_headers={**recording.sender.headers, **scope.variables.texts(step.headers)},
        local_addr=(HARNESS_SOURCE, 0),
        open_timeout=within_s,
        ping_interval=None,
        max_size=bounds.FRAME_BYTES,
        proxy=None,
        user_agent_header=None,
        close_timeout=CLOSE_WITHIN_S,
    )
    try:
        socket = await opening
    except (OSError, InvalidHandshake, TimeoutError) as error:
        answer = opening.opened.response if opening.opened is not None else None
        if answer is None:
            recording.lost(str(error))
            return False
        # Other than with 101 it says itself why; 101 is no opening without the right headers.
        said = bytes(answer.body or b"") if answer.status_code != 101 else None
        headers = _as_text(answer.headers.raw_items())
        recording.refused(answer.status_code, headers, said, str(error))
        return False
    recording.seen.status = 101
    assert socket.response is not None
    recording.frame("out", "open", headers=_as_text(socket.response.headers.raw_items()))
    await _converse(step, scope, socket, recording)
    return True


async def _converse(
    step: Stream, scope: Scope, socket: ClientConnection, recording: "_Recording"
) -> None:
    def listen() -> asyncio.Task[None]:
        return asyncio.create_task(_read(socket, recording))

    reader = listen() if step.read and not step.late else None
    try:
        await _send(step, scope, socket, recording)
        if step.late:
            reader = listen()
        await _wait(step, scope, reader, recording)
    finally:
        await socket.close()
        if reader is not None:
            await reader


async def _wait(
    step: Stream, scope: Scope, reader: asyncio.Task[None] | None, recording: "_Recording"
) -> None:
    """Run the inner steps, and wait for the end of the stream or of the waiting."""
    await scope.run_steps(step.meanwhile, "meanwhile")
    if reader is not None:
        await asyncio.wait(
            {reader, recording.enough},
            timeout=step.linger.s,
            return_when=asyncio.FIRST_COMPLETED,
        )
    else:
        await asyncio.sleep(step.linger.s)


async def _read(socket: ClientConnection, recording: "_Recording") -> None:
    try:
        while True:
            message = await socket.recv()
            if isinstance(message, bytes):
                recording.frame("in", "binary", size=len(message))
                continue
            data = message.encode()
            recording.frame("in", "text", size=len(data), body=data)
    except ConnectionClosed as closed:
        if closed.rcvd is not None and closed.rcvd_then_sent:
            recording.seen.close = closed.rcvd.code
            recording.frame("in", "close", code=closed.rcvd.code, reason=closed.rcvd.reason)
        elif closed.rcvd is None:
            recording.frame("in", "lost", reason=str(closed))


async def _events(
    step: Stream, scope: Scope, endpoint: Endpoint, recording: "_Recording", within_s: float
) -> bool:
    """Whether it could be opened; it has ended then."""
    answer = EventsAnswer()
    own = scope.variables.texts(step.headers)
    headers = merge_headers({"Accept": "text/event-stream"}, recording.sender.headers, own)
    host = f"{endpoint.host}:{endpoint.port}"
    request = build_request("GET", scope.variables.text(step.open), host, headers)
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await _connected(endpoint)
            writer.write(request)
            while not answer.is_events and not answer.complete:
                await _feed(answer, reader)
        if not answer.is_events:
            reason = f"it was answered with {answer.status}, and is no stream of events"
            recording.refused(answer.status, answer.headers, answer.content(), reason)
            return False
        recording.seen.status = answer.status
        recording.frame("out", "open", headers=answer.headers)
        listening = None
        if step.read:
            listening = asyncio.create_task(_listen(answer, reader, recording))
        try:
            await _wait(step, scope, listening, recording)
        finally:
            if listening is not None:
                # From here on it is this side that ends it.
                listening.cancel()
                await asyncio.wait([listening])
        if listening is not None and not listening.cancelled():
            listening.result()
    except (OSError, NotHttp) as error:
        recording.lost(_reason(error, within_s))
        return False
    finally:
        if writer is not None:
            writer.transport.abort()
    return True


async def _connected(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = open_socket(HARNESS_SOURCE)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (endpoint.host, endpoint.port))
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


async def _feed(answer: EventsAnswer, reader: asyncio.StreamReader) -> None:
    """Read what there is of the answer; ConnectionError when that is the end, and not a whole answer."""
    data = await reader.read(_CHUNK_BYTES)
    if data:
        answer.feed(data)
        return
    answer.feed_eof()
    if answer.is_events or not answer.complete:
        raise ConnectionError(
            "the connection was closed, and nothing had said that the stream ends"
        )


async def _listen(
    answer: EventsAnswer, reader: asyncio.StreamReader, recording: "_Recording"
) -> None:
    try:
        while True:
            for event in answer.take():
                recording.event(event)
            if answer.complete:
                recording.frame("in", "close")
                return
            await _feed(answer, reader)
    except (OSError, NotHttp) as error:
        recording.frame("in", "lost", reason=_reason(error, 0.0))


def _reason(error: Exception, within_s: float) -> str:
    if isinstance(error, TimeoutError) and not error.errno:
        return f"no answer within {within_s:g} s"
    return explain(error) if isinstance(error, OSError) else str(error)


async def _send(
    step: Stream, scope: Scope, socket: ClientConnection, recording: "_Recording"
) -> None:
    pause_s = 1 / step.rate.per_s if step.rate is not None else 0.0
    for message in step.send:
        payload = _payload(message, scope)
        data = payload.encode() if isinstance(payload, str) else payload
        for copy in range(message.times):
            try:
                await socket.send(payload)
            except ConnectionClosed:
                return
            if isinstance(payload, str):
                again = copy > 0 and len(data) > _COPIED_BYTES
                recording.frame("out", "text", size=len(data), body=None if again else data)
            else:
                recording.frame("out", "binary", size=len(data))
            await asyncio.sleep(pause_s)


def _payload(message: Message, scope: Scope) -> str | bytes:
    if message.hex is not None:
        return bytes.fromhex(message.hex)
    if message.file is not None:
        return regular.read(scope.readable(message.file), bounds.FILE_BYTES)
    if message.text is not None:
        return scope.variables.text(message.text)
    return bytes(as_json(scope.variables.fill(message.json))).decode()


class _Recording:
    """Writes the frames of one stream and remembers what an `expect` may ask for."""

    def __init__(self, step: Stream, scope: Scope, endpoint: Endpoint) -> None:
        self.scope = scope
        self.endpoint = endpoint
        self.name = scope.variables.text(step.stream)
        self.sender: Sender = scope.sender(step.as_)
        self.seen = _Seen()
        # Done once the other side has sent `until` frames.
        self.enough = asyncio.get_running_loop().create_future()
        # Why it was not opened.
        self.why: str | None = None
        self._until = step.until
        self._messages = 0

    def frame(
        self,
        direction: schema.Direction,
        kind: schema.FrameKind,
        *,
        size: int = 0,
        code: int | None = None,
        headers: Iterable[tuple[str, str]] | None = None,
        body: bytes | None = None,
        more_bytes: int = 0,
        event: Event | None = None,
        reason: str | None = None,
    ) -> None:
        """Record one frame: what it held, or for what reason the stream ended."""
        remarks: list[str] = []
        if body is not None:
            more_bytes += max(0, len(body) - MAX_BODY_BYTES)
            body, remarks = content(body[:MAX_BODY_BYTES], (), more_bytes)
        if direction == "in" and kind in ("text", "event"):
            self.seen.json = document(body or b"")
        if direction == "in" and kind in ("text", "binary", "event"):
            self._messages += 1
            if self._messages == self._until:
                self.enough.set_result(None)
        self.scope.recorder.add(
            schema.Frame,
            stream=self.name,
            vars=as_json(self.scope.row_vars),
            actor=self.sender.label,
            direction=direction,
            kind=kind,
            size=size,
            code=code,
            headers=NULL if headers is None else msgspec.Raw(headers_column(headers)),
            json=as_json(reason) if body is None else msgspec.Raw(body_column(body)),
            frame_ms=self.scope.clock.now_ms(),
            event=event.name if event is not None else None,
            event_id=event.id if event is not None else None,
            error="; ".join(remarks) or None,
            link=self.endpoint.link,
            process=self.endpoint.process,
        )

    def event(self, event: Event) -> None:
        """Record an event, or a comment between events."""
        size = len(event.data) + event.more_bytes
        if event.comment:
            self.frame("in", "comment", size=size, body=event.data)
        else:
            more = event.more_bytes
            self.frame("in", "event", size=size, body=event.data, more_bytes=more, event=event)

    def refused(
        self,
        status: int,
        headers: Iterable[tuple[str, str]],
        body: bytes | None,
        reason: str,
    ) -> None:
        """Record that the opening was answered otherwise: with which status and headers, and with a body that says why."""
        self.why = f"the stream {self.name} was refused with {status}: {reason}"
        if status != 101:
            self.seen.status = status
        self.frame("in", "refused", code=status, headers=headers, body=body, reason=reason)

    def lost(self, reason: str) -> None:
        """Record that the opening was not answered."""
        self.why = f"the stream {self.name} was not opened: {reason}"
        self.frame("in", "lost", reason=reason)


def _as_text(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Headers as all answers are read; websockets takes every byte for Latin-1."""
    for name, value in headers:
        yield name, header_text(name, value.encode("latin-1"))[0]


KIND = Kind(
    "stream",
    Stream,
    run,
    observes=frozenset({"status", "close", "json"}),
    sends=True,
    records={"frames.stream": "stream"},
)

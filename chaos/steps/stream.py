"""`stream`: a WebSocket that is opened, written to, listened to and watched for its end."""

import asyncio
import re
from collections.abc import Iterable
from typing import Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from chaos import bounds, regular
from chaos.answers import body_column, document, headers_column
from chaos.engine.scope import Scope, Sender
from chaos.engine.stack import HARNESS_SOURCE
from chaos.evidence import schema
from chaos.evidence.recorder import NULL, as_json
from chaos.spec.kind import Kind
from chaos.spec.step import Spec, Step
from chaos.spec.units import Duration, Rate

OPEN_WITHIN_S: Final = 10.0
CLOSE_WITHIN_S: Final = 2.0


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

    `subprotocols` are offered in this order; `send` goes out after opening, at `rate` where one is given;
    `read: false` never reads. After `meanwhile` it waits up to `linger` for the other side to close it, or
    to have sent `until` frames, then closes it itself. `expect` may speak of `status` (101, or of the
    refusal), `close` (the other side's code) and `json` (the last text received). `within` bounds the opening.
    """

    stream: str
    open: str
    subprotocols: list[str] = []
    headers: dict[str, str] = {}
    send: list[Message] = []
    rate: Rate | None = None
    read: bool = True
    linger: Duration = Duration("0ms")
    until: int | None = None
    meanwhile: list[Step] = []

    def problem(self) -> str | None:
        """The first message that is none, or an end that would not be seen."""
        if self.until is not None and (self.until < 1 or not self.read):
            return "`until` counts frames that are read, at least 1"
        if sum(message.times for message in self.send) > bounds.FRAMES:
            return f"more than {bounds.FRAMES} frames are sent"
        return next(filter(None, (message.problem() for message in self.send)), None)

    def least_s(self) -> float:
        """What it waits between the frames that it sends."""
        frames = sum(message.times for message in self.send)
        return frames / self.rate.per_s if self.rate is not None else 0.0


class _Seen(msgspec.Struct):
    status: int | None = None
    close: int | None = None
    json: object = None


async def run(step: Stream, scope: Scope) -> int | None:
    """Open, send, listen while the inner steps run, wait for the end, record every frame."""
    recording = _Recording(step, scope)
    endpoint = scope.endpoint(step)
    url = f"ws://{endpoint.host}:{endpoint.port}{scope.variables.text(step.open)}"
    within_s = step.within.s if step.within is not None else OPEN_WITHIN_S
    try:
        socket = await connect(
            url,
            subprotocols=[Subprotocol(scope.variables.text(name)) for name in step.subprotocols]
            or None,
            additional_headers={**recording.sender.headers, **scope.variables.texts(step.headers)},
            local_addr=(HARNESS_SOURCE, 0),
            open_timeout=within_s,
            ping_interval=None,
            max_size=None,
            proxy=None,
            user_agent_header=None,
            close_timeout=CLOSE_WITHIN_S,
        )
    except InvalidStatus as refusal:
        answer = refusal.response
        recording.seen.status = answer.status_code
        recording.frame(
            "in",
            "refused",
            code=answer.status_code,
            headers=answer.headers.raw_items(),
            body=bytes(answer.body or b""),
        )
    except (OSError, InvalidHandshake, TimeoutError) as error:
        recording.frame("in", "lost", reason=str(error))
    else:
        recording.seen.status = 101
        assert socket.response is not None
        recording.frame("out", "open", headers=socket.response.headers.raw_items())
        await _converse(step, scope, socket, recording)
    opened = recording.seen.status == 101
    if not opened:
        scope.skip_steps(step.meanwhile, "meanwhile")
    scope.check(step.expect, msgspec.structs.asdict(recording.seen))
    return 1 if step.meanwhile and opened else None


async def _converse(
    step: Stream, scope: Scope, socket: ClientConnection, recording: "_Recording"
) -> None:
    reader = asyncio.create_task(_read(socket, recording)) if step.read else None
    try:
        await _send(step, scope, socket, recording)
        await scope.run_steps(step.meanwhile, "meanwhile")
        if reader is not None:
            await asyncio.wait(
                {reader, recording.enough},
                timeout=step.linger.s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        else:
            await asyncio.sleep(step.linger.s)
    finally:
        await socket.close()
        if reader is not None:
            await reader


async def _read(socket: ClientConnection, recording: "_Recording") -> None:
    try:
        while True:
            message = await socket.recv()
            if isinstance(message, bytes):
                recording.frame("in", "binary", size=len(message))
                continue
            data = message.encode()
            recording.seen.json = document(data)
            recording.frame("in", "text", size=len(data), body=data)
    except ConnectionClosed as closed:
        if closed.rcvd is not None and closed.rcvd_then_sent:
            recording.seen.close = closed.rcvd.code
            recording.frame("in", "close", code=closed.rcvd.code, reason=closed.rcvd.reason)
        elif closed.rcvd is None:
            recording.frame("in", "lost")


async def _send(
    step: Stream, scope: Scope, socket: ClientConnection, recording: "_Recording"
) -> None:
    pause_s = 1 / step.rate.per_s if step.rate is not None else 0.0
    for message in step.send:
        payload = _payload(message, scope)
        data = payload.encode() if isinstance(payload, str) else payload
        for _ in range(message.times):
            try:
                await socket.send(payload)
            except ConnectionClosed:
                return
            if isinstance(payload, str):
                recording.frame("out", "text", size=len(data), body=data)
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

    def __init__(self, step: Stream, scope: Scope) -> None:
        self.scope = scope
        self.name = scope.variables.text(step.stream)
        self.sender: Sender = scope.sender(step.as_)
        self.seen = _Seen()
        # Done once the other side has sent `until` frames.
        self.enough = asyncio.get_running_loop().create_future()
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
        reason: str | None = None,
    ) -> None:
        """Record one frame: what it held, or for what reason the stream ended."""
        if direction == "in" and kind in ("text", "binary"):
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
        )


KIND = Kind("stream", Stream, run, observes=frozenset({"status", "close", "json"}), sends=True)

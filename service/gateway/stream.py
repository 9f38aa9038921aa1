"""`/v1/stream`: turns over a WebSocket, for as long as the token that opened it lives.

Every frame is one JSON object with a `type`. The caller sends `turn` and `ping`; SONIA sends
`ready`, `turn`, `pong` and `error`. A frame that cannot be read is answered with `error` and the
socket stays usable. The next frame is read only after the last was answered, so a caller that
floods the stream is slowed down by TCP and holds no memory here.
"""

import asyncio
import contextlib
import logging
from typing import Final

import msgspec
from litestar import WebSocket, websocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect

from service.auth.credentials import Presented
from service.auth.roles import Role
from service.domain.call import Call, InjectedCall
from service.domain.turns.pipeline import TurnAnswer, TurnRequest, answer_turn
from service.errors import Invalid, OutcomeUnknown, ProblemError
from service.gateway.recheck import closing_code, watch
from service.http.bodies import check_json
from service.http.guards import require_role
from service.http.problems import UNKNOWN, Problem, send_refusal
from service.reliability.tracing import answer_of

PROTOCOL: Final = "sonia.v1"
INVALID_FRAME: Final = "invalid_frame"
_LOG: Final = logging.getLogger("sonia.gateway")

Socket = WebSocket[object, object, State]


class TurnFrame(msgspec.Struct, frozen=True, tag="turn", tag_field="type"):
    """Ask for a turn; `id` comes back with its answer."""

    text: str
    session_id: str | None = None
    id: str | None = None


class PingFrame(msgspec.Struct, frozen=True, tag="ping", tag_field="type"):
    """Ask for a sign of life."""

    id: str | None = None


class ReadyFrame(msgspec.Struct, frozen=True, tag="ready", tag_field="type"):
    """The stream is open, and as whom."""

    actor_id: str
    request_id: str


class AnswerFrame(msgspec.Struct, frozen=True, tag="turn", tag_field="type"):
    """The answer to a turn; `request_id` is the one in the audit log."""

    id: str | None
    request_id: str
    answer: TurnAnswer


class PongFrame(msgspec.Struct, frozen=True, tag="pong", tag_field="type"):
    """A sign of life."""

    id: str | None


class ErrorFrame(msgspec.Struct, frozen=True, tag="error", tag_field="type"):
    """A frame that could not be served; `code` as in a problem document."""

    id: str | None
    code: str
    detail: str
    request_id: str


Outgoing = ReadyFrame | AnswerFrame | PongFrame | ErrorFrame
_INCOMING: Final = msgspec.json.Decoder(TurnFrame | PingFrame)


async def answer_frame(call: Call, text: str | bytes) -> Outgoing:
    """Answer one frame; never raises for what is wrong with it."""
    try:
        check_json(text.encode() if isinstance(text, str) else text)
        frame = _INCOMING.decode(text)
    except (msgspec.MsgspecError, Invalid) as wrong:
        return _refused(call, None, Invalid(str(wrong), INVALID_FRAME))
    if isinstance(frame, PingFrame):
        return PongFrame(frame.id)
    try:
        request = msgspec.convert({"text": frame.text, "session_id": frame.session_id}, TurnRequest)
        return AnswerFrame(frame.id, call.request_id, await answer_turn(call, request))
    except msgspec.ValidationError as wrong:
        return _refused(call, frame.id, Invalid(str(wrong), INVALID_FRAME))
    except ProblemError as problem:
        return _refused(call, frame.id, problem)
    except Exception:  # noqa: BLE001 - whatever it was, the stream stays usable
        _LOG.exception("turn %s failed", call.request_id)
        return _refused(call, frame.id, OutcomeUnknown(UNKNOWN))


def _refused(call: Call, frame_id: str | None, problem: ProblemError) -> ErrorFrame:
    call.trace.answered(answer_of(problem))
    return ErrorFrame(frame_id, problem.code, problem.detail, call.request_id)


async def converse(socket: Socket, call: Call, presented: Presented | None) -> None:
    """Serve frames until the caller leaves; the token is looked at before each is served."""
    while True:
        text = await socket.receive_text()
        services = call.services
        request_id = services.new_id("req")
        trace = services.traces.begin(request_id, "frame", call.method, call.route)
        frame_call = msgspec.structs.replace(call, request_id=request_id, trace=trace)
        try:
            code = closing_code(services, presented, trace)
            if code is not None:
                await socket.close(code, "the token is not valid any more")
                return
            answer = await answer_frame(frame_call, text)
            if not isinstance(answer, ErrorFrame):
                trace.answered(answer_of(None))
        finally:
            services.traces.finish(trace)
        await socket.send_text(msgspec.json.encode(answer).decode())


@websocket("/v1/stream", guards=[require_role(Role.OPERATOR)])
async def stream(socket: Socket, call: InjectedCall) -> None:
    """Serve one stream until the caller leaves, its token ends (4401) or loses its role (4403)."""
    presented: Presented | None = socket.scope.get("auth")
    if PROTOCOL not in socket.scope["subprotocols"]:
        await _refuse(socket, call)
        return
    await socket.accept(PROTOCOL)
    await socket.send_text(msgspec.json.encode(ReadyFrame(call.actor.id, call.request_id)).decode())
    talking = asyncio.create_task(converse(socket, call, presented))
    watching = asyncio.create_task(watch(call.services, presented))
    await asyncio.wait({talking, watching}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if not talking.done():
            await socket.close(watching.result(), "the token is not valid any more")
    finally:
        for task in (talking, watching):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect):
            await talking


async def _refuse(socket: Socket, call: Call) -> None:
    """Answer 400: browsers end a socket with a protocol that they did not offer, and one with none if they offered some."""
    detail = f"offer {PROTOCOL} in Sec-WebSocket-Protocol"
    problem = Problem(400, "Bad request", "subprotocol_required", detail, call.request_id)
    await send_refusal(socket.scope, socket.receive, socket.send, problem)


HANDLERS = [stream]

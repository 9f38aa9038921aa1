"""`/v1/stream`: turns over a WebSocket, for as long as the token that opened it lives.

Every frame is one JSON object with a `type`. The caller sends `turn` and `ping`; SONIA sends
`ready`, `turn`, `pong` and `error`. A frame that cannot be read is answered with `error` and the
socket stays usable. Frames are read while an answer is worked on: turns wait for theirs in the queue `stream`, are answered
one after the other, and the oldest give way when too many wait (`error` with the code `shed` and the turn's id); a
ping waits for no turn.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from litestar import WebSocket, websocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect

from service.auth.credentials import Presented
from service.auth.roles import Role
from service.domain.call import Call, InjectedCall
from service.domain.turns.pipeline import TurnAnswer, TurnRequest, answer_turn, in_turn_of
from service.errors import Forbidden, Invalid, OutcomeUnknown, ProblemError
from service.gateway.recheck import closing_code, watch
from service.gateway.telling import AnswerFrame, ErrorFrame, PongFrame, ReadyFrame, Telling
from service.http.bodies import check_json
from service.http.guards import require_role
from service.http.problems import UNKNOWN, Problem, send_refusal
from service.reliability.tracing import answer_of
from service.reliability.verdicts import Queue

PROTOCOL: Final = "sonia.v1"
INVALID_FRAME: Final = "invalid_frame"
READ_AT_ONCE: Final = 16
CLOSE_WITHIN_S: Final = 1.0
_MOST_SAID: Final = 200
_LOG: Final = logging.getLogger("sonia.gateway")

Socket = WebSocket[object, object, State]
Name = Annotated[str, msgspec.Meta(max_length=255)]


class TurnFrame(msgspec.Struct, frozen=True, tag="turn", tag_field="type"):
    """Ask for a turn; `id` comes back with its answer."""

    text: str
    session_id: Name | None = None
    id: Name | None = None


class PingFrame(msgspec.Struct, frozen=True, tag="ping", tag_field="type"):
    """Ask for a sign of life."""

    id: Name | None = None


_INCOMING: Final[msgspec.json.Decoder[TurnFrame | PingFrame]] = msgspec.json.Decoder(
    TurnFrame | PingFrame
)


def read_frame(text: str) -> TurnFrame | PingFrame:
    """Read one frame. Raises Invalid."""
    try:
        check_json(text.encode())
        return _INCOMING.decode(text)
    except msgspec.MsgspecError as wrong:
        raise Invalid(str(wrong)[:_MOST_SAID]) from wrong


class Conversation:
    """One open stream. Its turns are a lane of the queue `stream`: answered in their order, one at a time."""

    def __init__(self, socket: Socket, call: Call, presented: Presented | None) -> None:
        self._socket = socket
        self._call = call
        self._presented = presented
        self._ingress = call.services.ingress
        self._telling = Telling(socket.send_text)
        self._turns: set[asyncio.Task[None]] = set()

    async def run(self) -> int | None:
        """Serve until the caller leaves, or its token ends: then return the code to close with."""
        over = [
            asyncio.create_task(self._read()),
            asyncio.create_task(watch(self._call.services, self._presented)),
        ]
        telling = asyncio.create_task(self._telling.run())
        try:
            done, _ = await asyncio.wait([*over, telling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end([*over, telling, *self._turns])
            self._ingress.release(self)
        # Whatever it is that ended otherwise than by the caller's leaving is raised here.
        with contextlib.suppress(WebSocketDisconnect, OSError):
            return next(each.result() for each in (*over, telling) if each in done)
        return None

    async def _read(self) -> int:
        """Take in frames for as long as the token lives; it is looked at before each is taken in."""
        read = 0
        while True:
            code = self._hear(await self._socket.receive_text())
            if code is not None:
                return code
            read += 1
            if read % READ_AT_ONCE == 0:
                # Many short ones come in at one go; others have their turn meanwhile.
                await asyncio.sleep(0)

    def _hear(self, text: str) -> int | None:
        """Take in one frame, or return the code to close with."""
        services = self._call.services
        request_id = services.new_id("req")
        trace = services.traces.begin(request_id, "frame", self._call.method, self._call.route)
        call = msgspec.structs.replace(self._call, request_id=request_id, trace=trace)
        code = closing_code(services, self._presented, trace)
        if code is not None or not self._take(call, text):
            services.traces.finish(trace)
        return code

    def _take(self, call: Call, text: str) -> bool:
        """Answer a ping, or what cannot be read; have a turn wait for its own, and say that it does."""
        about: str | None = None
        try:
            frame = read_frame(text)
            about = frame.id
            if isinstance(frame, PingFrame):
                self._telling.tell(PongFrame(about))
                call.trace.answered(answer_of(None))
                return False
            asked = {"text": frame.text, "session_id": frame.session_id}
            request = msgspec.convert(asked, TurnRequest)
        except (msgspec.ValidationError, Invalid) as wrong:
            self._telling.tell(_refused(call, about, Invalid(str(wrong), INVALID_FRAME)))
            return False
        turn = asyncio.create_task(self._serve(call, about, request))
        self._turns.add(turn)
        turn.add_done_callback(self._turns.discard)
        return True

    async def _serve(self, call: Call, about: str | None, request: TurnRequest) -> None:
        """Answer one turn when its turn comes, and let the next one come once the caller has taken the answer."""
        in_turn = False
        answer: AnswerFrame | ErrorFrame
        try:
            async with in_turn_of(call, request, Queue.STREAM, lane=self):
                in_turn = True
                turn = await answer_frame(call, self._presented, request)
                answer = AnswerFrame(about, call.request_id, turn)
                call.trace.answered(answer_of(None))
        except ProblemError as problem:
            answer = _refused(call, about, problem)
        except Exception:  # noqa: BLE001 - whatever it was, the stream stays usable
            _LOG.exception("turn %s failed", call.request_id)
            answer = _refused(call, about, OutcomeUnknown(UNKNOWN))
        finally:
            call.services.traces.finish(call.trace)
        if in_turn:
            # While the caller does not read, nobody else waits for it, and nothing more is done for it.
            await self._telling.answer(answer)
            self._ingress.release(self)
        elif isinstance(answer, ErrorFrame):
            self._telling.tell(answer)


async def answer_frame(call: Call, presented: Presented | None, request: TurnRequest) -> TurnAnswer:
    """Answer a frame whose turn has come, if whoever asked may still ask. Raises ProblemError."""
    if closing_code(call.services, presented, call.trace) is not None:
        # It waited for longer than its token lived; whoever looks on the timer closes the stream.
        raise Forbidden("the token is not valid any more", "token_over")
    return await answer_turn(call, request)


def _refused(call: Call, about: str | None, problem: ProblemError) -> ErrorFrame:
    call.trace.answered(answer_of(problem))
    return ErrorFrame(about, problem.code, problem.detail, call.request_id)


async def _end(tasks: "Sequence[asyncio.Task[int] | asyncio.Task[None]]") -> None:
    """Cancel `tasks`, and wait until they have ended."""
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@websocket("/v1/stream", guards=[require_role(Role.OPERATOR)])
async def stream(socket: Socket, call: InjectedCall) -> None:
    """Serve one stream until the caller leaves, its token ends (4401) or loses its role (4403)."""
    presented: Presented | None = socket.scope.get("auth")
    if PROTOCOL not in socket.scope["subprotocols"]:
        await _refuse(socket, call)
        return
    await socket.accept(PROTOCOL)
    await socket.send_text(msgspec.json.encode(ReadyFrame(call.actor.id, call.request_id)).decode())
    code = await Conversation(socket, call, presented).run()
    if code is not None:
        # Whoever does not read is not waited for.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await socket.close(code, "the token is not valid any more")


async def _refuse(socket: Socket, call: Call) -> None:
    """Answer 400: browsers end a socket with a protocol that they did not offer, and one with none if they offered some."""
    detail = f"offer {PROTOCOL} in Sec-WebSocket-Protocol"
    problem = Problem(400, "Bad request", "subprotocol_required", detail, call.request_id)
    await send_refusal(socket.scope, socket.receive, socket.send, problem)


HANDLERS = [stream]

"""What the caller of a stream is told: in order, and within bounds, whether or not it reads.

An answer is told before the next is worked on. Anything else that waits to be told waits up to MOST_TOLD frames; after that
frames of one kind become one, with the id of the last of them and how many they are: it speaks of that one and of those before
it that were not told of by themselves.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from service.domain.turns.pipeline import TurnAnswer

MOST_TOLD: Final = 256


class ReadyFrame(msgspec.Struct, frozen=True, tag="ready", tag_field="type"):
    """The stream is open, and as whom."""

    actor_id: str
    request_id: str


class AnswerFrame(msgspec.Struct, frozen=True, tag="turn", tag_field="type"):
    """The answer to a turn; `request_id` is the one in the audit log."""

    id: str | None
    request_id: str
    answer: TurnAnswer


class PongFrame(msgspec.Struct, frozen=True, tag="pong", tag_field="type", omit_defaults=True):
    """A sign of life, or `count` of them."""

    id: str | None
    count: int = 1


class ErrorFrame(msgspec.Struct, frozen=True, tag="error", tag_field="type", omit_defaults=True):
    """A frame that could not be served, or `count` of them; `code` as in a problem document."""

    id: str | None
    code: str
    detail: str
    request_id: str
    count: int = 1


Notice = PongFrame | ErrorFrame
Outgoing = ReadyFrame | AnswerFrame | Notice


class Telling:
    """What one caller is still to be told; `send` returns once a frame is handed over, which may take for ever."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: deque[tuple[Outgoing, asyncio.Event | None]] = deque()
        self._merged: dict[str, Notice] = {}
        self._notices = 0
        self._due = asyncio.Event()

    def tell(self, notice: Notice) -> None:
        """Have something told, by itself where there is room."""
        if self._merged or self._notices >= MOST_TOLD:
            kind = notice.code if isinstance(notice, ErrorFrame) else ""
            merged = self._merged.get(kind)
            count = 1 if merged is None else merged.count + 1
            self._merged[kind] = msgspec.structs.replace(notice, count=count)
        else:
            self._waiting.append((notice, None))
            self._notices += 1
        self._due.set()

    async def answer(self, frame: AnswerFrame | ErrorFrame) -> None:
        """Have an answer told; return once it is handed over."""
        told = asyncio.Event()
        self._waiting.append((frame, told))
        self._due.set()
        await told.wait()

    async def run(self) -> None:
        """Hand over whatever is to be told, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            while self._waiting or self._merged:
                if not self._waiting:
                    self._waiting.extend((each, None) for each in self._merged.values())
                    self._notices += len(self._merged)
                    self._merged.clear()
                frame, told = self._waiting.popleft()
                await self._send(msgspec.json.encode(frame).decode())
                if told is None:
                    self._notices -= 1
                else:
                    told.set()

"""A helper process of the harness that is talked to in lines of JSON over its pipes."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec
from msgspec import Raw, Struct

from chaos.errors import HarnessError
from chaos.guard import end_process

Spawn = Callable[..., Awaitable[asyncio.subprocess.Process]]
"""Starts a process that cannot outlive the run: `await spawn(argv, stdin=…, stdout=…, stderr=…)`."""


class ProbeError(HarnessError):
    """A helper process that measures links did not answer, so nothing was measured."""


class Message(Struct, frozen=True):
    """One line from the process: an answer when it has an `id`, news otherwise; `seen` is its content."""

    id: int | None = None
    seen: Raw = Raw(b"null")


class Child:
    """The process, its pending questions and what it reports of its own accord.

    `news` is called in the event loop with the content of every line that answers no question.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, name: str, news: Callable[[Raw], None]
    ) -> None:
        self._process = process
        self._name = name
        self._news = news
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Raw]] = {}
        self._problem: str | None = None
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, spawn: Spawn, argv: list[str], name: str, news: Callable[[Raw], None] = lambda _: None
    ) -> Self:
        """Start `argv` with both pipes."""
        process = await spawn(
            argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=None
        )
        return cls(process, name, news)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def ask(self, question: dict[str, object], within_s: float) -> Raw:
        """Send one question and wait for its answer; ProbeError when there is none in time."""
        if self._problem is not None:
            raise ProbeError(self._problem)
        number = next(self._numbers)
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode({"id": number, **question}) + b"\n")
            return await asyncio.wait_for(answer, within_s)
        except TimeoutError as error:
            raise ProbeError(f"the {self._name} did not answer within {within_s:g} s") from error
        finally:
            self._pending.pop(number, None)

    async def stop(self) -> None:
        """Close its input, which ends it, and make sure that it has ended."""
        self._problem = self._problem or f"the {self._name} was stopped"
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 1.0)
        await end_process(self._process, 0.5)
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        try:
            while data := await self._process.stdout.read(1 << 18):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._take(line)
        finally:
            self._fail(f"the {self._name} ended")

    def _take(self, line: bytes) -> None:
        message = msgspec.json.decode(line, type=Message)
        if message.id is None:
            self._news(message.seen)
            return
        answer = self._pending.get(message.id)
        if answer is not None and not answer.done():
            answer.set_result(message.seen)

    def _fail(self, problem: str) -> None:
        self._problem = self._problem or problem
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(ProbeError(self._problem))

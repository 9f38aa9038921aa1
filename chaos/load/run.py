"""Runs one load: when each request is to start, and what is recorded of it."""

import asyncio
import contextlib
import resource
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from math import ceil
from typing import Final, ParamSpec

import msgspec

from chaos.answers import body_column, headers_column
from chaos.errors import RecordingError
from chaos.evidence.schema import RequestOutcome
from chaos.http import AnswerReader
from chaos.load.client import Client, Outgoing
from chaos.load.evidence import Evidence
from chaos.load.messages import Choice, Template
from chaos.load.plan import Bursts, Clients, Plan, Rates, Summary, offsets_s, planned

TICK_S: Final = 0.001
"""A timer below a millisecond keeps a core of uvloop spinning."""

SWEEP_S: Final = 0.05
PAUSE_AFTER_ERROR_S: Final = 0.01
"""A client of a closed loop that was refused starts its next request after this long."""

MOST_AT_ONCE: Final = 1000
"""After a batch of so many the answers get their turn, however late the next requests are."""

OPEN_AHEAD_S: Final = 0.5
SPARE_FILES: Final = 32

P = ParamSpec("P")

_BOOLEAN: Final = (b"false", b"true")
_encode = msgspec.json.Encoder().encode


class LoadRun:
    """One load from its first to its last request."""

    def __init__(self, plan: Plan, evidence: Evidence) -> None:
        self._plan = plan
        self._evidence = evidence
        allowed = raise_file_limit(plan.max_connections + SPARE_FILES) - SPARE_FILES
        self._connections = min(plan.max_connections, allowed)
        self._client = Client(plan, self, self._connections)
        templates = [
            Template(message, plan, evidence.redactor.redact, number)
            for number, message in enumerate(plan.messages)
        ]
        self._choice = Choice(templates, plan.seed)
        self._waiting: deque[float] = deque()
        self._scheduled = False
        self._clients_until_s: float | None = None
        self._lags_s = array("d")
        self._sent = 0
        self._finished = 0
        self._done = 0
        self._settled = asyncio.Event()
        self._used_up = asyncio.Event()
        self._problem: str | None = None
        self._task: asyncio.Task[None] | None = None
        ids = _encode({"run_id": plan.run_id, "gate": plan.gate}).removesuffix(b"}")
        self._line = (
            ids.replace(b"%", b"%%") + b',"seq":%d,"done_ms":%.3f,"reused":%b,"response":%b,%b}'
        )

    async def execute(self, began: Callable[[float], None]) -> Summary:
        """Send everything and wait for the answers; `began` is called with the time in ms when it starts."""
        self._began_s = time.monotonic()
        self._problem = self._problem or _refusal(self._plan, self._connections)
        if self._problem is None:
            await self._guarded(began)
        self._client.stop(self._problem or f"no answer within {self._plan.timeout_s:g} s")
        self._recorded(self._evidence.flush)
        return self._summary()

    def stop(self, reason: str) -> None:
        """End now; what is under way may have happened."""
        self._problem = self._problem or reason
        if self._task is not None:
            self._task.cancel()

    async def _guarded(self, began: Callable[[float], None]) -> None:
        loop = asyncio.get_running_loop()
        sweeping = loop.create_task(self._sweep())
        self._task = loop.create_task(self._send_all(began))
        try:
            await self._task
        except asyncio.CancelledError:
            if self._problem is None:
                raise
        finally:
            sweeping.cancel()

    async def _send_all(self, began: Callable[[float], None]) -> None:
        shape = self._plan.shape
        if isinstance(shape, Bursts):
            await self._client.open_ahead(shape.size, self._plan.timeout_s)
        self._began_s = time.monotonic()
        began((self._began_s - self._plan.origin_s) * 1000)
        last_s = await self._drive(shape)
        # The sweep has the last word on what is late.
        await self._settle(last_s + self._plan.timeout_s + 2 * SWEEP_S)

    async def _drive(self, shape: Rates | Clients | Bursts) -> float:
        """Start all requests; when the last one was due."""
        if isinstance(shape, Rates):
            return await self._on_schedule(shape)
        if isinstance(shape, Clients):
            return await self._by_clients(shape)
        return await self._in_bursts(shape)

    async def _on_schedule(self, shape: Rates) -> float:
        now_s = due_s = self._began_s
        for offset_s in offsets_s(shape.stages, self._plan.at_most):
            due_s = self._began_s + offset_s
            if due_s > now_s or len(self._waiting) >= MOST_AT_ONCE:
                self._send_waiting()
                now_s = await _until(due_s)
            self._waiting.append(due_s)
        self._send_waiting()
        return due_s

    async def _by_clients(self, shape: Clients) -> float:
        self._clients_until_s = self._began_s + shape.for_s
        self._waiting.extend([self._began_s] * shape.count)
        self._send_waiting()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._used_up.wait(), shape.for_s)
        # Whoever was about to start does not: the time, or the number, is used up.
        self._clients_until_s = time.monotonic()
        self._waiting.clear()
        return self._clients_until_s

    async def _in_bursts(self, shape: Bursts) -> float:
        due_s = self._began_s
        for number in range(shape.times):
            due_s = self._began_s + number * shape.every_s
            if number:
                await _until(due_s - OPEN_AHEAD_S)
                await self._client.open_ahead(shape.size, OPEN_AHEAD_S)
                await _until(due_s)
            self._waiting.extend([due_s] * min(shape.size, self._plan.at_most - self._sent))
            self._send_waiting()
        return due_s

    async def _settle(self, until_s: float) -> None:
        """Wait until every request has ended, and no longer than `until_s`."""
        while self._waiting or self._finished < self._sent:
            self._settled.clear()
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            try:
                await asyncio.wait_for(self._settled.wait(), left_s)
            except TimeoutError:
                continue

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._client.sweep(time.monotonic())
            self._recorded(self._evidence.flush)

    def _send_waiting(self) -> None:
        """Record what is due, in one batch, and then send it."""
        self._scheduled = False
        count = min(len(self._waiting), self._client.room(), self._plan.at_most - self._sent)
        if count <= 0:
            return
        origin_s, timeout_s, first_seq = (
            self._plan.origin_s,
            self._plan.timeout_s,
            self._plan.first_seq,
        )
        lines = []
        batch = []
        now_s = 0.0
        for index in range(self._sent, self._sent + count):
            intended_s = self._waiting.popleft()
            template = self._choice.next()
            now_s = time.monotonic()
            line, data = template.render(
                first_seq + index, index, (intended_s - origin_s) * 1000, (now_s - origin_s) * 1000
            )
            self._lags_s.append(now_s - intended_s)
            lines.append(line)
            batch.append(
                Outgoing(first_seq + index, template.number, data, template.head, now_s + timeout_s)
            )
        if not self._recorded(self._evidence.intend, lines):
            return
        self._sent += count
        if self._sent == self._plan.at_most:
            self._used_up.set()
        for request in batch:
            self._client.send(request, now_s)

    def answered(
        self, seq: int, columns: bytes, body: bytes, done_s: float, *, reused: bool
    ) -> None:
        """See `chaos.load.client.Listener`."""
        self._done += 1
        done_ms = (done_s - self._plan.origin_s) * 1000
        line = self._line % (seq, done_ms, _BOOLEAN[reused], body_column(body), columns)
        self._recorded(self._evidence.complete, line)
        self._ended(None)

    def free(self, now_s: float) -> None:
        """See `chaos.load.client.Listener`."""
        self._next(now_s)

    def failed(
        self,
        seq: int,
        outcome: RequestOutcome,
        reason: str,
        reader: AnswerReader | None,
        *,
        reused: bool = False,
    ) -> None:
        """See `chaos.load.client.Listener`."""
        now_s = time.monotonic()
        headers = b"{}"
        if reader is not None and reader.begun:
            reason = f"{reader.remark()}; {reason}"
            headers = headers_column(reader.headers)
        columns = b'"status":null,"outcome":"%b","error":%b,"close_framed":false,"headers":%b' % (
            outcome.encode(),
            _encode(reason),
            headers,
        )
        done_ms = (now_s - self._plan.origin_s) * 1000
        line = self._line % (seq, done_ms, _BOOLEAN[reused], b"null", columns)
        self._recorded(self._evidence.complete, line)
        if outcome == "error" and self._clients_until_s is not None:
            # A refused client would otherwise spin, and fill the disk with refusals.
            loop = asyncio.get_running_loop()
            loop.call_later(PAUSE_AFTER_ERROR_S, lambda: self._next(time.monotonic()))
        self._ended(None if outcome == "error" else now_s)

    def unable(self, reason: str) -> None:
        """See `chaos.load.client.Listener`."""
        self._problem = self._problem or f"this machine could not open a connection: {reason}"

    def _ended(self, free_s: float | None) -> None:
        """One request has ended; its client is free since `free_s`, or will be."""
        self._finished += 1
        if free_s is not None:
            self._next(free_s)
        if self._finished == self._sent:
            self._settled.set()

    def _next(self, now_s: float) -> None:
        """Let the next request start: that of a client, or one that waited for a connection."""
        if self._clients_until_s is not None and now_s < self._clients_until_s:
            self._waiting.append(now_s)
        if self._waiting and not self._scheduled:
            # All answers of one round of the loop are followed by one batch.
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send_waiting)

    def _recorded(self, write: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> bool:
        try:
            write(*args, **kwargs)
        except RecordingError as error:
            self.stop(str(error))
            return False
        return True

    def _summary(self) -> Summary:
        wanted = planned(self._plan.shape, self._plan.at_most)
        number = self._sent if wanted is None else wanted
        problem = self._problem
        if number != self._sent:
            problem = f"{self._sent} of {number} requests were sent" + (
                f": {problem}" if problem else ""
            )
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Summary(
            planned=number,
            sent=self._sent,
            done=self._done,
            late_p99_ms=p99(self._lags_s) * 1000,
            began_ms=(self._began_s - self._plan.origin_s) * 1000,
            ended_ms=(time.monotonic() - self._plan.origin_s) * 1000,
            cpu_s=usage.ru_utime + usage.ru_stime,
            problem=problem,
        )


async def _until(due_s: float) -> float:
    """Sleep until `due_s`, at least for a tick; returns the time."""
    now_s = time.monotonic()
    while True:
        await asyncio.sleep(max(TICK_S, due_s - now_s))
        now_s = time.monotonic()
        if now_s >= due_s:
            return now_s


def p99(values: Sequence[float]) -> float:
    """The 99th percentile by nearest rank; 0 of nothing."""
    return sorted(values)[ceil(0.99 * len(values)) - 1] if values else 0.0


def raise_file_limit(wanted: int) -> int:
    """Allow this process `wanted` open files, or as many as it may have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft


def _refusal(plan: Plan, connections: int) -> str | None:
    """Why this machine cannot do what the plan asks for."""
    shape = plan.shape
    needed = 1
    if isinstance(shape, Clients):
        needed = shape.count
    elif isinstance(shape, Bursts):
        needed = shape.size
    if needed > connections:
        return f"{needed} connections at once are more than the {connections} this machine allows"
    return None

# ruff: noqa: ARG002 - what is no trace has the signatures of one
"""(h) What a trace costs of a request's processor time: turns and signs of life, with traces that are written and without any."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Final, Self, TypeVar, cast

import msgspec
import uvloop
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from bench.report import Measured
from bench.stubs import with_stubs
from service.cli.init import create_state
from service.collector import end_start
from service.control import open_control
from service.domain.call import Services
from service.gateway.app import create_app
from service.gateway.boot import boot
from service.ids import random_id
from service.processes import Listen
from service.reliability.tracing import Stage, Trace, Traces
from service.state import StateDir

T = TypeVar("T")
PART = "h"
AIM = "<= 1.10"
WHAT: Final = {
    "turn": "a turn with its trace against without, in process (processor time)",
    "healthz": "a sign of life with its trace against without, in process (processor time)",
}
CALLS = 100
_STAGE: Final = Stage("none")
BATCHES = 30


class _Untraced(Trace):
    """A trace that is none: what is taken is produced, and that is all."""

    __slots__ = ()

    def stage(self, name: str) -> Self:
        return self

    def __enter__(self) -> Stage:
        return _STAGE

    def __exit__(self, *_: object) -> None:
        pass

    def take(self, kind: str, produce: Callable[[], T], form: object, errors: object = ()) -> T:
        return produce()

    async def ask(
        self, kind: str, produce: Callable[[], Awaitable[T]], form: object, errors: object = ()
    ) -> T:
        return await produce()

    def _keep(self, kind: str, value: object) -> None:
        pass


class _NoTraces(Traces):
    """Begins traces that are none, and tells nobody when they end."""

    def begin(self, request_id: str, kind: str, method: str = "", route: str = "") -> Trace:
        return _Untraced(request_id, kind, method, route)

    def finish(self, trace: Trace) -> None:
        pass


def measure(_: int, __: int) -> list[Measured]:
    """Both requests, in batches that take turns."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure())


async def _measure() -> list[Measured]:
    with tempfile.TemporaryDirectory(prefix="bench-service-") as directory:
        state = StateDir(Path(directory) / "state")
        token = create_state(state, force=False).operator
        control = open_control(state)
        try:
            listen = Listen("127.0.0.1", 7000)
            traced = with_stubs(boot(control, listen, {}, random_id))
            untraced = msgspec.structs.replace(traced, traces=_NoTraces())
            # As after a start: what is there then is not looked through again and again.
            end_start()
            apps = {"with": create_app(traced, listen), "without": create_app(untraced, listen)}
            return [await _compare(kind, apps, traced, token) for kind in WHAT]
        finally:
            control.close()


async def _compare(kind: str, apps: dict[str, ASGIApp], services: Services, token: str) -> Measured:
    spent: dict[str, list[float]] = {which: [] for which in apps}
    for _ in range(BATCHES):
        for which, app in apps.items():
            began_s = time.process_time()
            for _ in range(CALLS):
                await _ask(app, kind, token)
            await services.trace_writer.flush()
            spent[which].append(time.process_time() - began_s)
    pairs = zip(spent["with"], spent["without"], strict=True)
    return Measured(
        part=PART,
        what=WHAT[kind],
        ratio=median(traced / untraced for traced, untraced in pairs),
        aim=AIM,
        values={f"µs {which}": median(each) / CALLS * 1e6 for which, each in spent.items()},
        note="memory and model answer at once, so that the trace's share is as large as it can be",
    )


async def _ask(app: ASGIApp, kind: str, token: str) -> None:
    turn = kind == "turn"
    path = "/v1/turn" if turn else "/healthz"
    body = b'{"text": "where is the key of the boat"}' if turn else b""
    headers = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer " + token.encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 7000),
        "client": ("127.0.0.1", 5),
        "scheme": "http",
        "method": "POST" if turn else "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [*headers, (b"content-type", b"application/json")] if turn else headers,
        "state": {},
    }
    statuses = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Message:
        return cast("Message", {"type": "http.request", "body": body, "more_body": False})

    await app(cast("Scope", scope), cast("Receive", receive), cast("Send", send))
    if statuses != [200]:
        raise RuntimeError(f"{path} answered {statuses}")

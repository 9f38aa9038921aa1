"""(f) A call between processes that is signed, and whose answer is, against the same without, in processor time."""

import asyncio
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final, cast

import uvloop
from litestar import get
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from bench.guarded_server import answer
from bench.guards import scope_of
from bench.report import Measured
from service.auth.roles import Role
from service.http.guards import require_role
from service.http.signatures import Signer
from service.ids import random_id
from service.internal.access import GATEWAY
from service.internal.app import internal_app
from service.internal.labels import labelled
from service.keys import generate_link

PART = "f"
WHAT = "a call between processes, signed against unsigned, in process (processor time)"
AIM = "<= 2.5"
PATH: Final = "/internal/bench"
CALLS = 200
BATCHES = 40

Call = Callable[[], Any]


def measure(_: int, __: int) -> list[Measured]:
    """Batches of signed and unsigned calls that take turns."""
    costs: dict[str, list[float]] = {"signed": [], "unsigned": []}
    calls = both()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _round in range(BATCHES):
            for which, call in calls.items():
                costs[which].append(runner.run(batch_us(call)))
    pairs = zip(costs["signed"], costs["unsigned"], strict=True)
    return [
        Measured(
            part=PART,
            what=WHAT,
            ratio=median(one / other for one, other in pairs),
            aim=AIM,
            values={f"µs {which}": median(each) for which, each in costs.items()},
            note="signing and verifying of both ends; routing, handler and answer are in both, no socket is",
        )
    ]


async def batch_us(call: Call) -> float:
    """Processor microseconds of one call."""
    began_s = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - began_s) / CALLS * 1e6


def both() -> dict[str, Call]:
    """A call as the two ends of a link do it, and one of the same application without signatures."""
    link = generate_link("gateway", "tools")
    signer = Signer(link)
    gate = internal_app(
        [get(PATH, guards=[require_role(Role.SERVICE)])(answer)], {}, link, random_id
    )
    behind = gate._app  # noqa: SLF001 - what is measured is the gate

    async def signed() -> None:
        headers = signer.sign("GET", PATH, b"")
        status, told, body = await exchange(gate, headers)
        if status != 200 or not signer.holds(headers, status, told, body):
            raise RuntimeError(f"the route answered {status}, or did not sign it")

    async def without(scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = GATEWAY
        await behind(scope, receive, labelled(scope, send, random_id, known=False))

    async def unsigned() -> None:
        status, _, _ = await exchange(without, {})
        if status != 200:
            raise RuntimeError(f"the route answered {status}")

    return {"signed": signed, "unsigned": unsigned}


async def exchange(app: ASGIApp, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """One request: (status, headers, body)."""
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return cast("Message", {"type": "http.request", "body": b"", "more_body": False})

    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope: Any = scope_of([(b"host", b"x"), *named])
    scope |= {"path": PATH, "raw_path": PATH.encode()}
    await app(scope, cast("Receive", receive), cast("Send", send))
    start, body = sent
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], told, body["body"]

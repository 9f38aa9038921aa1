"""(b) Authentication and role check against the same route without them."""

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import cast

import uvloop
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from bench.guarded_server import Which, build
from bench.processes import WRK_MISSING, has_wrk, server, wrk
from bench.report import Measured, unmeasured

PART = "b"
CONNECTIONS = 16
IN_PROCESS = "a route with authentication and role check against without, in process (time)"
UNDER_WRK = "the same under wrk (requests/s)"
AIM_IN_PROCESS = "<= 1.55"
AIM_UNDER_WRK = ">= 0.85"
CALLS = 500
BATCHES = 40


def measure(rounds: int, for_s: int) -> list[Measured]:
    """Both ways of looking at it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        inside = runner.run(in_process())
    return [inside, under_wrk(rounds, for_s)]


async def in_process() -> Measured:
    """Calls of the applications themselves, in batches that take turns."""
    with tempfile.TemporaryDirectory(prefix="bench-service-") as directory:
        apps, control, token = build(Path(directory))
        try:
            batches: dict[Which, list[float]] = {"gated": [], "plain": []}
            for _ in range(BATCHES):
                for which, app in apps.items():
                    batches[which].append(await batch_s(app, token))
        finally:
            control.close()
    pairs = zip(batches["gated"], batches["plain"], strict=True)
    return Measured(
        part=PART,
        what=IN_PROCESS,
        ratio=median(gated / plain for gated, plain in pairs),
        aim=AIM_IN_PROCESS,
        values={
            "µs with": median(batches["gated"]) / CALLS * 1e6,
            "µs without": median(batches["plain"]) / CALLS * 1e6,
        },
        note="request id and routing are in both; without: the application without its gate",
    )


async def batch_s(app: ASGIApp, token: str) -> float:
    """Seconds that CALLS requests take; RuntimeError when one is not answered with 200."""
    statuses = set()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    async def receive() -> Message:
        return cast("Message", {"type": "http.request", "body": b"", "more_body": False})

    headers = [(b"host", b"x"), (b"authorization", b"Bearer " + token.encode())]
    began_s = time.perf_counter()
    for _ in range(CALLS):
        await app(scope_of(headers), cast("Receive", receive), cast("Send", send))
    took_s = time.perf_counter() - began_s
    if statuses != {200}:
        raise RuntimeError(f"the route answered {statuses}")
    return took_s


def scope_of(headers: list[tuple[bytes, bytes]]) -> Scope:
    """What uvicorn hands to an application for one request."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 5),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/bench",
        "raw_path": b"/bench",
        "query_string": b"",
        "headers": headers,
        "state": {},
    }
    return cast("Scope", scope)


def under_wrk(rounds: int, for_s: int) -> Measured:
    """Requests per second of two servers that are alike but for the gate; rounds take turns."""
    if not has_wrk():
        return unmeasured(PART, UNDER_WRK, AIM_UNDER_WRK, WRK_MISSING)
    gated: list[float] = []
    plain: list[float] = []
    with (
        server("bench.guarded_server", "gated") as (gated_port, token),
        server("bench.guarded_server", "plain") as (plain_port, _),
    ):
        headers = {"Authorization": f"Bearer {token}"}
        for _ in range(rounds):
            for costs, port in ((gated, gated_port), (plain, plain_port)):
                url = f"http://127.0.0.1:{port}/bench"
                costs.append(wrk(url, CONNECTIONS, for_s, headers).per_s)
    return Measured(
        part=PART,
        what=UNDER_WRK,
        ratio=median(a / b for a, b in zip(gated, plain, strict=True)),
        aim=AIM_UNDER_WRK,
        values={"requests/s with": median(gated), "requests/s without": median(plain)},
        note=f"{CONNECTIONS} connections, the same headers sent to both",
    )

"""(c) The load client, recording on, against wrk and aiohttp on a server of canned bytes."""

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import msgspec

from bench.processes import WRK_MISSING, Cost, has_wrk, run_and_weigh, server, wrk
from bench.report import Measured, unmeasured
from chaos.load.plan import MAX_REQUESTS, Began, Clients, Message, Plan, Rates, Summary

PART = "c"
CONNECTIONS = 16
AGAINST_WRK = "load client, recording, against wrk (requests/s)"
AGAINST_AIOHTTP = "load client, recording, against aiohttp's client (requests/s)"
AIM_WRK = ">= 0.5"
AIM_AIOHTTP = ">= 2"


def measure(rounds: int, for_s: int) -> list[Measured]:
    """Each round runs all three one after the other; the ratio is the median of the rounds'."""
    with server("bench.bare_server") as (port,):
        load_client(int(port), 1)
        ours, theirs, aiohttps = [], [], []
        for _ in range(rounds):
            ours.append(load_client(int(port), for_s))
            if has_wrk():
                theirs.append(wrk(f"http://127.0.0.1:{port}/x", CONNECTIONS, for_s))
            if importlib.util.find_spec("aiohttp") is not None:
                aiohttps.append(aiohttp_client(int(port), for_s))
    return [
        compare(AGAINST_WRK, AIM_WRK, ours, theirs, WRK_MISSING),
        compare(AGAINST_AIOHTTP, AIM_AIOHTTP, ours, aiohttps, "aiohttp is not installed"),
    ]


def compare(what: str, aim: str, ours: list[Cost], theirs: list[Cost], missing: str) -> Measured:
    """Our requests per second over theirs."""
    if not theirs:
        return unmeasured(PART, what, aim, missing)
    return Measured(
        part=PART,
        what=what,
        ratio=median(our.per_s / their.per_s for our, their in zip(ours, theirs, strict=True)),
        aim=aim,
        values={
            "our requests/s": median(cost.per_s for cost in ours),
            "their requests/s": median(cost.per_s for cost in theirs),
            "our CPU µs/request": median(cost.cpu_us_per_request for cost in ours),
            "their CPU µs/request": median(cost.cpu_us_per_request for cost in theirs),
        },
        note=f"{CONNECTIONS} connections; only the load client writes two lines per request",
    )


def load_client(port: int, for_s: int) -> Cost:
    """The load process as a gate would start it, in a directory that is thrown away."""
    get = Message(method="GET", path="/x", route="/x")
    with tempfile.TemporaryDirectory(prefix="bench-load-") as directory:
        done, cpu_s = run_load(port, Clients(CONNECTIONS, for_s), [get], Path(directory))
    return Cost(done, done / for_s, cpu_s / done * 1e6)


def post(path: str, token: str, body: str) -> Message:
    """A request with a JSON body by whom the token is."""
    headers = [("authorization", f"Bearer {token}"), ("content-type", "application/json")]
    return Message(method="POST", path=path, route=path, headers=headers, body=body)


def run_load(
    port: int, shape: Clients | Rates, messages: list[Message], directory: Path
) -> tuple[int, float]:
    """(requests, processor seconds) of a load process, whose evidence is in `directory`. RuntimeError where one was not answered."""
    plan = Plan(
        run_id="bench",
        gate="bench",
        directory=str(directory),
        origin_s=time.monotonic(),
        load="bench",
        step="scenario.0",
        vars=msgspec.Raw(b"{}"),
        link=None,
        process="bare",
        host="127.0.0.1",
        port=port,
        source="127.0.0.3",
        seed=1,
        first_seq=0,
        at_most=MAX_REQUESTS,
        shape=shape,
        messages=messages,
    )
    argv = [sys.executable, "-m", "chaos.load"]
    output, cpu_s = run_and_weigh(argv, msgspec.json.encode(plan) + b"\n")
    summary = msgspec.json.decode(output.splitlines()[-1], type=Began | Summary)
    if not isinstance(summary, Summary) or summary.problem is not None:
        raise RuntimeError(f"the load client failed: {summary}")
    if summary.done != summary.sent:
        raise RuntimeError(f"only {summary.done} of {summary.sent} requests were answered")
    return summary.done, cpu_s


def aiohttp_client(port: int, for_s: int) -> Cost:
    """aiohttp's client on uvloop, in a process of its own too."""
    url = f"http://127.0.0.1:{port}/x"
    argv = [sys.executable, "-m", "bench.aiohttp_client", url, str(CONNECTIONS), str(for_s)]
    output, cpu_s = run_and_weigh(argv)
    done = int(output)
    return Cost(done, done / for_s, cpu_s / done * 1e6)

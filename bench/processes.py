"""Starts servers and clients, and reads what they cost."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parent.parent
WRK_MISSING = "wrk is not on PATH: `apt-get install wrk` (Debian, Ubuntu) or `brew install wrk`"


class Cost(Struct, frozen=True):
    """What a client did: answers, per second and by the processor time of the client alone."""

    requests: int
    per_s: float
    cpu_us_per_request: float


@contextmanager
def server(module: str, *arguments: str) -> Iterator[list[str]]:
    """Run a server module; gives the words of its first line. It ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{module} did not start")
        yield line.split()
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_and_weigh(argv: Sequence[str], data: bytes = b"") -> tuple[bytes, float]:
    """(standard output, processor seconds) of a command, with `data` on an input that stays open."""
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write(data)
        process.stdin.flush()
        output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{argv[0]} exited with {process.returncode}")
    return output, usage.ru_utime + usage.ru_stime


def has_wrk() -> bool:
    """Whether wrk can be used."""
    return shutil.which("wrk") is not None


def wrk(url: str, connections: int, for_s: int, headers: Mapping[str, str] | None = None) -> Cost:
    """One thread of wrk. RuntimeError when any answer was not a success."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{for_s}", url]
    for name, value in (headers or {}).items():
        argv += ["-H", f"{name}: {value}"]
    output, cpu_s = run_and_weigh(argv)
    text = output.decode()
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"wrk got answers that are no successes from {url}:\n{text}")
    requests = int(_number(r"(\d+) requests in", text))
    return Cost(requests, _number(r"Requests/sec:\s+([\d.]+)", text), cpu_s / requests * 1e6)


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"cannot read the output of wrk:\n{text}")
    return float(found[1])

"""(a) What the harness costs per gate, recording and judging included, beside Tavern doing the same requests."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.processes import ROOT, server
from bench.report import Measured, unmeasured

PART = "a"
FEW = 66
MANY = 660
MOST_S = 600
AIM = "<= 0.5"
TAVERN = "BENCH_TAVERN_PYTHON"
MISSING = f"{TAVERN} names no interpreter with Tavern and pytest < 9; `nox -s bench` makes one"

TARGET = """\
target: bare
processes:
  bare:
    run: "{python} -m bench.bare_server {port.bare}"
    port: 7000
    ready: GET /x
    env: {PYTHONPATH: "%s"}
"""
GATE = """\
gate: empty-%(number)04d
id: E%(number)d
class: floor
title: A server of canned bytes answers twice
why: Nothing is cheaper to find out
target: bare
isolation: shared
control:
  - request: {get: /x}
    expect: {status: 200}
scenario:
  - request: {get: /x}
    expect: {status: 200, json: {status: ok}}
assert:
  - that: every request was answered
    from: requests
    at_least: 2
    every: status = 200
    killed_by_sham: true
"""
TAVERN_TEST = """\
test_name: Empty %(number)04d
strict: ["json:off"]
stages:
  - name: control
    request: {url: "%(url)s", method: GET}
    response: {status_code: 200}
  - name: scenario
    request: {url: "%(url)s", method: GET}
    response: {status_code: 200, json: {status: ok}}
"""


def measure(rounds: int, _: int) -> list[Measured]:
    """One process and two; what starting and ending costs drops out of the difference."""
    # One directory until the end: some file systems look at every file that was removed lately before they make one.
    with tempfile.TemporaryDirectory(prefix="bench-gates-") as name:
        return [compared(Path(name), workers, rounds) for workers in (1, 2)]


def compared(directory: Path, workers: int, rounds: int) -> Measured:
    """Our marginal milliseconds per gate over Tavern's per test."""
    processes = "one process" if workers == 1 else f"{workers} processes"
    what = f"one more empty gate against one more Tavern test, {processes} (time)"
    tavern = os.environ.get(TAVERN)
    with server("bench.bare_server") as (port,):
        ours = Gates(directory / f"gates-{workers}", workers)
        place = directory / f"tavern-{workers}"
        theirs = Tavern(place, workers, tavern, port) if tavern else None
        pairs = [
            (ours.marginal_ms(), theirs.marginal_ms() if theirs else 0.0) for _ in range(rounds)
        ]
    our_ms, their_ms = (median(column) for column in zip(*pairs, strict=True))
    if theirs is None:
        return unmeasured(PART, what, AIM, f"{MISSING}; ours is {our_ms:.1f} ms")
    if min(our_ms, their_ms) <= 0:
        why = "too noisy: the longer run was not the slower one; run it on a quieter machine"
        return unmeasured(PART, what, AIM, why)
    return Measured(
        part=PART,
        what=what,
        ratio=our_ms / their_ms,
        aim=AIM,
        values={"our ms/gate": our_ms, "their ms/test": their_ms},
        note=f"from {FEW} to {MANY}, two requests each; ours with evidence recorded, sealed and judged twice, without a page",
    )


class Suite:
    """Some tests as files, and the command that runs them with `workers` processes."""

    def __init__(self, directory: Path, workers: int) -> None:
        self.directory = directory
        self.workers = workers

    def marginal_ms(self) -> float:
        """Milliseconds that each test beyond the first FEW costs."""
        few_s, many_s = self.run_s(FEW), self.run_s(MANY)
        return (many_s - few_s) / (MANY - FEW) * 1000

    def run_s(self, count: int) -> float:
        """Seconds that a run of `count` tests takes; RuntimeError when not all of them passed."""
        home = self.directory / str(count)
        if not home.exists():
            home.mkdir(parents=True)
            self.write(home, count)
        began_s = time.monotonic()
        done = subprocess.run(
            self.argv(),
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=MOST_S,
            check=False,
        )
        took_s = time.monotonic() - began_s
        if not re.search(rf"\b{count} (passed|pass\b)", done.stdout):
            raise RuntimeError(
                f"not all of {count} tests passed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return took_s

    def write(self, home: Path, count: int) -> None:
        """Write the files of `count` tests below `home`."""
        raise NotImplementedError

    def argv(self) -> list[str]:
        """The command, run in `home`."""
        raise NotImplementedError


class Gates(Suite):
    """Gates on a shared stack that they only read."""

    def write(self, home: Path, count: int) -> None:
        """A target and a file per gate; the target starts its own server."""
        targets, gates = home / "specs" / "targets", home / "specs" / "gates"
        targets.mkdir(parents=True)
        gates.mkdir()
        (targets / "bare.yaml").write_text(TARGET % str(ROOT))
        for number in range(count):
            (gates / f"empty-{number:04d}.yaml").write_text(GATE % {"number": number})

    def argv(self) -> list[str]:
        """All gates, as a run that decides no release."""
        return [
            sys.executable,
            "-m",
            "gates",
            "run",
            "--floor-only",
            "--no-page",
            "--workers",
            str(self.workers),
        ]


class Tavern(Suite):
    """A Tavern test file for each gate."""

    def __init__(self, directory: Path, workers: int, python: str, port: str) -> None:
        super().__init__(directory, workers)
        self.python = python
        self.port = port

    def write(self, home: Path, count: int) -> None:
        """One file per test, all for the same server."""
        for number in range(count):
            values = {"number": number, "url": f"http://127.0.0.1:{self.port}/x"}
            (home / f"test_{number:04d}.tavern.yaml").write_text(TAVERN_TEST % values)

    def argv(self) -> list[str]:
        """pytest with Tavern's plugin."""
        parallel = ["-n", str(self.workers)] if self.workers > 1 else []
        return [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *parallel]

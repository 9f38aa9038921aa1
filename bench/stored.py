"""(k) What a gateway needs for what is stored: how soon it is ready, how much memory it takes, and what a load leaves of it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import apsw
from msgspec import Struct

from bench.durable import MANY
from bench.load_client import post, run_load
from bench.processes import ROOT, server
from bench.report import Measured
from chaos.engine.procfs import tree_sample
from chaos.load.plan import Clients, Message
from chaos.ports import PortPool
from service.audit.chain import Chain, read_head
from service.audit.checkpoints import CheckpointWriter
from service.cli.init import create_state
from service.clock import wall_ms
from service.domain.confirmations.records import NewConfirmation, create_confirmation
from service.domain.tasks.records import NewTask, create_task
from service.effects import Cause, Effect, Origin
from service.ids import random_id
from service.keys import load_keys
from service.settings import AuditSettings, StorageSettings
from service.state import StateDir
from service.storage.database import open_database
from service.storage.store import audited

PART: Final = "k"
TASKS, CONFIRMATIONS, AUDIT = 100_000, 10_000, 1_000_000
READY_S: Final = 2.0
STARTS: Final = 3
READY = f"start to ready over {TASKS:,} open tasks, {CONFIRMATIONS:,} confirmations and {AUDIT:,} audit rows against {READY_S:.0f} s"
MEMORY = "resident memory over as much of which nothing is open against that over nothing"
LOAD = "resident memory after all of a load against after a tenth of it"
AIM_MEMORY = "<= 1.1"
LOAD_S: Final = 60
_MIB: Final = 1 << 20


class Started(Struct, frozen=True):
    """A gateway that became ready, after so many seconds and with so many bytes of resident memory."""

    ready_s: float
    rss_bytes: int


def measure(rounds: int, _: int) -> list[Measured]:
    """Starts after clean ends, over three states; then a load on a gateway of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-service-") as name:
        directory = Path(name)
        states = {each: StateDir(directory / each) for each in ("empty", "open", "over")}
        create_state(states["empty"], force=False)
        create_state(states["open"], force=False)
        _fill(states["open"])
        shutil.copytree(states["open"].root, states["over"].root)
        _end_all(states["over"])
        found = {each: _started(state, max(rounds, STARTS)) for each, state in states.items()}
    values = {f"s to ready, {each}": started.ready_s for each, started in found.items()}
    memory = {f"MiB, {each}": started.rss_bytes / _MIB for each, started in found.items()}
    return [
        Measured(
            part=PART, what=READY, ratio=found["open"].ready_s / READY_S, aim="<= 1", values=values
        ),
        Measured(
            part=PART,
            what=MEMORY,
            ratio=found["over"].rss_bytes / found["empty"].rss_bytes,
            aim=AIM_MEMORY,
            values=memory,
        ),
        _after_a_load(),
    ]


def _fill(state: StateDir) -> None:
    """Write everything as the gateway does, with its checkpoints, but in one transaction."""
    key, now_ms = load_keys(state.keys).audit_key_bytes(), wall_ms()
    cause = Cause("req_bench", "tok_bench", "operator", "bench.fill", "/tasks", "POST")
    origin = Origin("tok_bench", "req_bench", now_ms)
    with closing(open_database(state.database, StorageSettings())) as connection:
        chain = Chain(key, read_head(connection))
        every = AuditSettings().checkpoint_every
        checkpoints = CheckpointWriter(state.checkpoints, key, every, chain.head.seq)
        with connection:
            for effect in _effects(connection, origin):
                audited(connection, chain, now_ms, cause, effect)
                checkpoints.advance(chain.head)
            while chain.head.seq < AUDIT:
                chain.append(connection, now_ms, cause, None, {})
                checkpoints.advance(chain.head)


def _effects(connection: apsw.Connection, origin: Origin) -> Iterator[Effect[Any]]:
    for _ in range(TASKS):
        yield create_task(connection, random_id("task"), NewTask("note"), origin)
    for _ in range(CONFIRMATIONS):
        new = NewConfirmation(
            random_id("conf"), "shell.run", b'{"command":"true"}', None, 86_400_000
        )
        yield create_confirmation(connection, new, origin)


def _end_all(state: StateDir) -> None:
    """As much is stored, and no task is open."""
    with closing(open_database(state.database, StorageSettings())) as connection:
        connection.execute("UPDATE tasks SET status = 'cancelled'")


def _started(state: StateDir, starts: int) -> Started:
    """The median of several starts; the first, after nobody's clean end, does not count."""
    found = [_start(state) for _ in range(starts + 1)][1:]
    return Started(
        median(each.ready_s for each in found), int(median(each.rss_bytes for each in found))
    )


def _start(state: StateDir) -> Started:
    with _gateway(state) as (pid, port, began_s):
        while not _is_ready(port):
            if time.perf_counter() - began_s > 30 * READY_S:
                raise RuntimeError("the gateway does not become ready")
            time.sleep(0.002)
        return Started(time.perf_counter() - began_s, _rss_bytes(pid))


@contextmanager
def _gateway(state: StateDir) -> Iterator[tuple[int, int, float]]:
    """(pid, port, when it was begun) of a gateway over a state, which is asked to end."""
    ports = PortPool()
    port = ports.take()
    environment = os.environ | {"SONIA_STATE": str(state.root), "SONIA_GATEWAY_PORT": str(port)}
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "run", "gateway"], cwd=ROOT, env=environment
    )
    try:
        yield process.pid, port, began_s
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        ports.release()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def _rss_bytes(pid: int) -> int:
    sample = tree_sample([pid])
    if sample is None:
        raise RuntimeError("the gateway is gone")
    return sample.rss_bytes


def _after_a_load() -> Measured:
    """Tasks, sessions and reads of many clients; the answer of `/v1/tasks` is a page, however many there are."""
    with server("bench.task_server", "durable") as (port, token, pid):
        bearer = [("authorization", f"Bearer {token}")]
        mixed = [
            post("/tasks", token, '{"kind": "note"}'),
            post("/v1/sessions", token, "{}"),
            Message(method="GET", path="/tasks", route="/tasks", headers=bearer),
            Message(method="GET", path="/readyz", route="/readyz"),
        ]
        taken: list[int] = []
        sent = 0
        for for_s in (LOAD_S // 10, LOAD_S - LOAD_S // 10):
            with tempfile.TemporaryDirectory(prefix="bench-load-") as name:
                done, _ = run_load(int(port), Clients(MANY, for_s), mixed, Path(name))
            sent += done
            taken.append(_rss_bytes(int(pid)))
    return Measured(
        part=PART,
        what=LOAD,
        ratio=taken[1] / taken[0],
        aim=AIM_MEMORY,
        values={"requests": sent, "MiB after a tenth": taken[0] / _MIB, "MiB after all": taken[1] / _MIB},
        note=f"{LOAD_S} s of {MANY} clients",
    )  # fmt: skip

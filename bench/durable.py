"""(j) Tasks that are durable when they are answered, against raw commits of the same rows, the same route without a write, and other queues."""

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import apsw
import uvloop

from bench.load_client import post, run_load
from bench.processes import run_and_weigh, server
from bench.report import Measured, unmeasured
from chaos.load.plan import Clients
from service.cli.init import create_state
from service.control import Control, open_control
from service.domain.tasks.records import NewTask, create_task
from service.effects import Cause, Origin
from service.ids import random_id
from service.state import StateDir

PART: Final = "j"
CLIENTS: Final = (1, 8, 32, 128)
MANY: Final = 32
RAW_ONE = "tasks of one client against raw commits of the same rows, in process (tasks/s)"
RAW_MANY = "tasks of 32 clients against raw commits of the same rows, in process (tasks/s)"
HTTP = "POST /tasks of 32 clients against the same route without a write (requests/s)"
AIMS: Final = {RAW_ONE: ">= 0.85", RAW_MANY: ">= 8", HTTP: ">= 0.5"}
PEERS: Final = {"huey": ">= 5", "persist-queue": None, "dbos": ">= 10"}
MISSING = (
    "BENCH_QUEUES_PYTHON names no interpreter of an environment with huey, persist-queue and DBOS"
)
_ROWS: Final = ("tasks", "audit")
_MOST_ROWS: Final = 20_000


def measure(rounds: int, for_s: int) -> list[Measured]:
    """In each round everything is measured once, one after the other; a ratio is the median of the rounds'."""
    own: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    raw: list[float] = []
    peers: dict[str, list[float]] = {name: [] for name in PEERS}
    python = os.environ.get("BENCH_QUEUES_PYTHON")
    with _control() as (control, state):
        for _ in range(rounds):
            for clients in CLIENTS:
                own[clients].append(_tasks_per_s(control, clients, for_s))
            raw.append(_raw_per_s(state.database, for_s))
            for name, found in peers.items() if python else ():
                found.append(_peer_per_s(str(python), name, for_s))
    values = {f"tasks/s of {clients}": median(each) for clients, each in own.items()}
    values["raw commits/s"] = median(raw)
    many = own[MANY]
    return [
        _compared(RAW_ONE, AIMS[RAW_ONE], own[1], raw, values),
        _compared(RAW_MANY, AIMS[RAW_MANY], many, raw, {}),
        _over_http(rounds, for_s),
        *(
            _compared(_against(name), aim, many, peers[name], {"its tasks/s": median(peers[name])})
            if peers[name]
            else unmeasured(PART, _against(name), aim, MISSING)
            for name, aim in PEERS.items()
        ),
    ]


def _against(name: str) -> str:
    return f"tasks of 32 clients against {name} on SQLite, in process (tasks/s)"


def _compared(
    what: str, aim: str | None, ours: list[float], theirs: list[float], values: dict[str, float]
) -> Measured:
    pairs = zip(ours, theirs, strict=True)
    ratio = median(our / their for our, their in pairs)
    return Measured(part=PART, what=what, ratio=ratio, aim=aim, values=values)


@contextmanager
def _control() -> Iterator[tuple[Control, StateDir]]:
    with tempfile.TemporaryDirectory(prefix="bench-service-") as directory:
        state = StateDir(Path(directory) / "state")
        create_state(state, force=False)
        with closing(open_control(state)) as control:
            yield control, state


def _tasks_per_s(control: Control, clients: int, for_s: int) -> float:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_clients(control, clients, for_s))


async def _clients(control: Control, clients: int, for_s: int) -> float:
    """How many tasks a second some clients get durable, each of which waits for one before it asks for the next."""
    began_s = time.perf_counter()

    async def client() -> int:
        for done in itertools.count():
            if time.perf_counter() - began_s >= for_s:
                return done
            await _create(control)
        raise AssertionError

    done = sum(await asyncio.gather(*(client() for _ in range(clients))))
    return done / (time.perf_counter() - began_s)


async def _create(control: Control) -> None:
    task_id, request_id = random_id("task"), random_id("req")
    cause = Cause(request_id, "tok_bench", "operator", "task.create", "/tasks", "POST", task_id, "allowed")  # fmt: skip
    origin = Origin("tok_bench", request_id, control.clock.now_ms())
    run = partial(create_task, task_id=task_id, new=NewTask("note"), origin=origin)
    await control.storage.change(cause, run)


def _raw_per_s(database: Path, for_s: int) -> float:
    """The newest rows of tasks and of the audit log again, a commit for each pair, into tables of the same schema."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-raw-") as directory,
        closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)) as source,
        closing(apsw.Connection(str(Path(directory) / "raw.db"))) as raw,
    ):
        raw.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        for name in ("sessions", *_ROWS):
            for (sql,) in source.execute(
                "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL AND type IN ('table', 'index')",
                (name,),
            ):
                raw.execute(sql)
        # Without the sequence, which each table counts by itself.
        kept = [_newest(source, name) for name in _ROWS]
        began_s = time.perf_counter()
        done = 0
        for rows in zip(*(rows for _, rows in kept), strict=False):
            raw.execute("BEGIN IMMEDIATE")
            for (insert, _), row in zip(kept, rows, strict=True):
                raw.execute(insert, row)
            raw.execute("COMMIT")
            done += 1
            if time.perf_counter() - began_s >= for_s:
                break
        return done / (time.perf_counter() - began_s)


def _newest(
    source: apsw.Connection, table: str
) -> "tuple[str, list[tuple[apsw.SQLiteValue, ...]]]":
    """The statement that inserts rows of a table, and the newest of them."""
    columns = [
        name for _, name, *_ in source.execute(f"PRAGMA table_info({table})") if name != "seq"
    ]
    names = ", ".join(map(str, columns))
    insert = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - names of our own
    newest = f"SELECT {names} FROM {table} ORDER BY seq DESC LIMIT {_MOST_ROWS}"  # noqa: S608
    return insert, source.execute(newest).fetchall()


def _over_http(rounds: int, for_s: int) -> Measured:
    per_s: dict[str, list[float]] = {"durable": [], "unwritten": []}
    for _ in range(rounds):
        for how, found in per_s.items():
            with (
                server("bench.task_server", how) as (port, token, _),
                tempfile.TemporaryDirectory(prefix="bench-load-") as name,
            ):
                task = post("/tasks", token, '{"kind": "note"}')
                done, _ = run_load(int(port), Clients(MANY, for_s), [task], Path(name))
                found.append(done / for_s)
    values = {f"requests/s {how}": median(each) for how, each in per_s.items()}
    return _compared(HTTP, AIMS[HTTP], per_s["durable"], per_s["unwritten"], values)


def _peer_per_s(python: str, name: str, for_s: int) -> float:
    argv = [python, str(Path(__file__).with_name("peer_queues.py")), name, str(MANY), str(for_s)]
    output, _ = run_and_weigh(argv)
    return float(output.split()[-1])

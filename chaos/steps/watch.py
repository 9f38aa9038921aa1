"""`watch`: look at processes, sockets or a live database again and again while other steps run."""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import apsw

from chaos.engine.files import select, strict_about_names
from chaos.engine.life import Life
from chaos.engine.procfs import listening_sockets, tree_sample
from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.spec.kind import Kind
from chaos.spec.step import Step
from chaos.spec.units import Duration
from chaos.trees import table

SEARCH_EVERY_S: Final = 0.25
"""How long what came of a process may go unnoticed by a watch."""


class Watch(Step, frozen=True, kw_only=True):
    """`watch: snapshots` around `meanwhile`, with `database` and `sql`, or `processes`, or `sockets: true`.

    A look at a database is one SELECT in a read-only transaction of its own (rows in `rows`, numbered by
    `snapshot`; a look without rows leaves none, so select something in every look).
    """

    watch: str
    every: Duration = Duration("20ms")
    database: str | None = None
    sql: str | None = None
    processes: list[str] = []
    sockets: bool = False
    meanwhile: list[Step]

    def problem(self) -> str | None:
        """Exactly one thing is watched."""
        ways = ((self.database or self.sql) is not None) + bool(self.processes) + self.sockets
        if ways != 1 or (self.database is None) != (self.sql is None):
            return "`watch` needs `database` with `sql`, or `processes`, or `sockets: true`"
        return None


Look = Callable[[int], None]


async def run(step: Watch, scope: Scope) -> int:
    """Look, run the inner steps while looking on, look once more."""
    look, close = _look(step, scope)
    stop = asyncio.Event()

    async def look_on() -> None:
        for number in itertools.count(1):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), step.every.s)
            # Asked before the look: the last one begins after the last inner step has ended.
            is_last = stop.is_set()
            await asyncio.to_thread(look, number)
            if is_last:
                return

    try:
        # Over before the first inner step begins.
        await asyncio.to_thread(look, 0)
        task = asyncio.create_task(look_on())
        try:
            await scope.run_steps(step.meanwhile, "meanwhile")
        finally:
            stop.set()
            await task
    finally:
        close()
    return 1


def _look(step: Watch, scope: Scope) -> tuple[Look, Callable[[], None]]:
    if step.sql is not None and step.database is not None:
        return _database_look(step, scope, step.database, step.sql)
    if step.processes:
        return _process_look(step, scope), lambda: None
    return _socket_look(step, scope), lambda: None


def _database_look(
    step: Watch, scope: Scope, database: str, sql: str
) -> tuple[Look, Callable[[], None]]:
    path = scope.readable(database)
    query, name = scope.variables.text(sql), scope.variables.text(step.watch)
    # Read-only: a connection that may write would checkpoint the log of a writer that was killed.
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(2000)
        strict_about_names(connection)
    except apsw.Error as error:
        raise HarnessError(f"cannot watch {path.name}: {error}") from error

    def look(number: int) -> None:
        for row in select(connection, query):
            scope.recorder.add(
                schema.QueryRow,
                query=name,
                vars=as_json(scope.row_vars),
                snapshot=number,
                row=as_json(row),
                queried_ms=scope.clock.now_ms(),
            )

    return look, connection.close


def _process_look(step: Watch, scope: Scope) -> Look:
    def look(_number: int) -> None:
        for name, (life, pids) in members().items():
            seen = tree_sample(pids)
            if seen is None:
                continue
            scope.recorder.add(
                schema.ProcessSample,
                watch=scope.variables.text(step.watch),
                process=name,
                pid=life.process.pid,
                sampled_ms=scope.clock.now_ms(),
                state=seen.state,
                cpu_ms=seen.cpu_ms,
                rss_bytes=seen.rss_bytes,
                descriptors=seen.descriptors,
            )

    members = _Members(scope, [scope.variables.text(name) for name in step.processes])
    return look


def _socket_look(step: Watch, scope: Scope) -> Look:
    def look(_number: int) -> None:
        for name, (_, pids) in members().items():
            for pid, listener in listening_sockets(pids):
                scope.recorder.add(
                    schema.Socket,
                    watch=scope.variables.text(step.watch),
                    process=name,
                    pid=pid,
                    address=listener.address,
                    port=listener.port,
                    socket_ms=scope.clock.now_ms(),
                )

    members = _Members(scope)
    return look


class _Members:
    """Whom to look at: all that came of processes that run, by their names.

    Looking for them takes longer than looking at them, so it is not done at every look.
    """

    def __init__(self, scope: Scope, names: Sequence[str] | None = None) -> None:
        self._stack = scope.stack
        self._names = names
        self._found: dict[str, tuple[Life, list[int]]] = {}
        self._searched_s = -math.inf

    def __call__(self) -> Mapping[str, tuple[Life, list[int]]]:
        names = list(self._stack.lives) if self._names is None else self._names
        lives = {name: life for name in names if (life := self._stack.lives.get(name))}
        known = {name: life for name, (life, _) in self._found.items()}
        if known != lives or time.monotonic() > self._searched_s + SEARCH_EVERY_S:
            self._searched_s, found = time.monotonic(), table()
            self._found = {
                name: (life, list(self._stack.members(life, found))) for name, life in lives.items()
            }
        return self._found


KIND = Kind(
    "watch",
    Watch,
    run,
    names={"processes": "process"},
    paths={"database": "read"},
    records={"rows.query": "watch", "process_samples.watch": "watch", "sockets.watch": "watch"},
)

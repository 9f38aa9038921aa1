"""Power is lost at every point where a disk is waited for: what was acknowledged is there then, and nothing else.

A workload runs on the storage of SONIA, in this process, below a VFS that writes down what it does to the database. From
that follow the files that a disk may hold at each point, and each of them is opened as the next start would.
"""

import asyncio
import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec

from chaos.shims.disk import Disk, Operation, put_files
from chaos.shims.writes.recorded_writes import RecordedVFS, Recording
from service.control import Control, open_control
from service.domain.confirmations import records as confirmations
from service.domain.tasks import claims
from service.domain.tasks import records as tasks
from service.effects import Origin, system_cause
from service.errors import SoniaError, Unavailable
from service.gateway.restoring import restore
from service.http import idempotency
from service.outbox import records as outbox
from service.state import StateDir
from tests.service.running import new_state

Key = tuple[str, str]
"""A table, and the id of a row of it."""

STANDS = """
SELECT 'tasks', id, status FROM tasks
UNION ALL SELECT 'confirmations', id, status FROM confirmations
UNION ALL SELECT 'idempotency', key, state FROM idempotency
UNION ALL SELECT 'outbox', effect_key, status FROM outbox
"""
FIRST = {
    "tasks": "queued",
    "confirmations": "pending",
    "idempotency": "in_flight",
    "outbox": "pending",
}
LAST = {
    "tasks": "cancelled",
    "confirmations": "denied",
    "idempotency": "done",
    "outbox": "delivered",
}
PAGES_BEFORE_CHECKPOINT = 24
"""So few that the log is folded into the database again and again."""


class Change(msgspec.Struct):
    """A row is to stand at `value`: when that was asked for, and when it was acknowledged."""

    value: str
    asked_s: float
    acknowledged_s: float | None = None


class History:
    """What the client of the storage knows: the changes of each row, in order."""

    def __init__(self) -> None:
        self.changes: dict[Key, list[Change]] = {}

    async def make(self, key: Key, value: str, change: Callable[[], Any]) -> None:
        """Ask for a change, and note when it was acknowledged."""
        made = Change(value, time.monotonic())
        self.changes.setdefault(key, []).append(made)
        try:
            await change()
        except Unavailable:
            # It may have been done, or not.
            return
        made.acknowledged_s = time.monotonic()

    def problems(self, found: dict[Key, str], at_s: float) -> list[str]:
        """What of `found` cannot be if power was lost at `at_s`."""
        wrong = [f"invented: {key}" for key in found if key not in self.changes]
        for key, changes in self.changes.items():
            asked = [one for one in changes if one.asked_s < at_s]
            kept = [n for n, one in enumerate(asked) if (one.acknowledged_s or at_s) < at_s]
            allowed: list[str | None] = [one.value for one in asked[max(kept, default=0) :]]
            if not kept:
                allowed.append(None)
            if found.get(key) not in allowed:
                wrong.append(f"{key} is {found.get(key)}, and may be {allowed}")
        return wrong


class Failure(msgspec.Struct, frozen=True):
    """An error of the disk at the first operation of this sort after so many of all; from then on with each if it `stays`."""

    after: int
    did: str
    error: type[apsw.Error]
    stays: bool

    def is_due(self, done: int, did: str, failed: int) -> bool:
        """Whether the next operation fails, after so many of all and so many failures."""
        return did == self.did and done >= self.after and (self.stays or not failed)


class Watched(Recording):
    """Notes with each operation how long the log of checkpoints was, which is synced whenever it grows; may fail."""

    def __init__(self, state: StateDir, out: Path, failure: Failure | None) -> None:
        super().__init__(str(state.database), str(out))
        self._checkpoints = state.checkpoints
        self._failure = failure
        self.lengths: list[int] = []
        self.failed = 0

    def add(self, part: str, did: str, at_byte: int, size: int, data: Any = b"") -> None:
        """As written down, with the length."""
        failure = self._failure
        if failure and failure.is_due(len(self.lengths), did, self.failed):
            self.failed += 1
            raise failure.error("the disk failed")
        exists = self._checkpoints.exists()
        self.lengths.append(self._checkpoints.stat().st_size if exists else 0)
        super().add(part, did, at_byte, size, data)


class Recorded(msgspec.Struct):
    """A workload that was recorded."""

    disk: Disk
    operations: list[Operation]
    lengths: list[int]
    history: History

    def points(self) -> Iterator[int]:
        """After how many operations power is lost: before and after each sync, and at the end."""
        for number, operation in enumerate(self.operations):
            if operation.did == "sync":
                yield from (number, number + 1)

    def at_s(self, point: int) -> float:
        """What was acknowledged before this was acknowledged before power was lost."""
        later = self.operations[point:]
        return later[0].at_s if later else float("inf")


def record(
    state: StateDir, out: Path, chance: random.Random, rounds: int, failure: Failure | None = None
) -> Recorded:
    """Run a workload of so many rounds of one to four changes at once, each a commit, until it ends or would be fatal."""
    disk = Disk(state.database, out)
    recording = Watched(state, out, failure)
    vfs = RecordedVFS(recording)
    history = History()
    fatal: list[int] = []
    try:
        control = open_control(state, lambda _: fatal.append(len(recording.lengths)))
        control.storage.do_now(lambda it: it.wal_autocheckpoint(PAGES_BEFORE_CHECKPOINT))
        asyncio.run(_work(control, history, chance, rounds, fatal))
        with contextlib.suppress(apsw.Error):
            control.close()
    finally:
        vfs.unregister()
    done = fatal[0] if fatal else None
    assert failure is None or recording.failed, "the disk was to fail and did not"
    return Recorded(disk, disk.operations()[:done], recording.lengths[:done], history)


async def _work(
    control: Control, history: History, chance: random.Random, rounds: int, fatal: list[int]
) -> None:
    for number in range(rounds):
        if fatal:
            return
        open_ = [
            key
            for key, made in history.changes.items()
            if len(made) == 1 and made[0].acknowledged_s
        ]
        chosen = chance.sample(open_, min(len(open_), chance.randint(0, 2)))
        new = [
            (chance.choice(list(_MAKE)), f"{number}-{index}")
            for index in range(chance.randint(1, 2))
        ]
        changes = [_change(control, history, key) for key in [*new, *chosen]]
        await asyncio.gather(*changes)


async def _change(control: Control, history: History, key: Key) -> None:
    table, name = key
    earlier = history.changes.get(key)
    value = LAST[table] if earlier else FIRST[table]
    run = partial(_MAKE[table] if earlier is None else _END[table], name=name)
    cause = system_cause("crash", "act", f"req_{name}")
    storage = control.storage
    how = (
        partial(storage.do, run) if table == "idempotency" else partial(storage.change, cause, run)
    )
    await history.make(key, value, how)


def _origin(name: str) -> Origin:
    return Origin("crash", f"req_{name}", time.time_ns() // 1_000_000)


def _make_task(connection: apsw.Connection, name: str) -> Any:
    return tasks.create_task(
        connection, name, tasks.NewTask("note", {"n": name * 50}), _origin(name)
    )


def _make_confirmation(connection: apsw.Connection, name: str) -> Any:
    new = confirmations.NewConfirmation(name, "file.write", b"{}", None, 3_600_000)
    return confirmations.create_confirmation(connection, new, _origin(name))


def _slot(name: str) -> idempotency.Slot:
    return idempotency.Slot("crash", "/tasks", name)


def _begin(connection: apsw.Connection, name: str) -> None:
    idempotency.begin(connection, _slot(name), "00", 1)


def _complete(connection: apsw.Connection, name: str) -> None:
    answer = idempotency.Entry("00", "done", 201, "[]", name.encode() * 400)
    idempotency.complete(connection, _slot(name), answer)


def _owe(connection: apsw.Connection, name: str) -> Any:
    return outbox.enqueue(
        connection, outbox.NewOwed(name, name, "memory", b'{"text": "x"}'), _origin(name)
    )


def _deliver(connection: apsw.Connection, name: str) -> Any:
    row = outbox.head(connection, name)
    assert row is not None
    return outbox.settle(connection, row, outbox.Status.DELIVERED, 1)


_MAKE: dict[str, Callable[..., Any]] = {
    "tasks": _make_task,
    "confirmations": _make_confirmation,
    "idempotency": _begin,
    "outbox": _owe,
}
_END: dict[str, Callable[..., Any]] = {
    "tasks": lambda connection, name: claims.cancel_task(connection, name, _origin(name)),
    "confirmations": lambda connection, name: confirmations.denying(
        name, lambda: _origin(name)
    ).run(connection),
    "idempotency": _complete,
    "outbox": _deliver,
}


def lost_at(
    recorded: Recorded, state: StateDir, point: int, chance: random.Random | None
) -> list[str]:
    """What is wrong with what a start finds when power was lost there."""
    with _as_left(recorded, state, point, chance) as left:
        try:
            control = open_control(left)
        except SoniaError as refused:
            return [f"it does not start: {refused}"]
        try:
            control.storage.read(partial(restore, boot_id="boot"))
            found = control.storage.read(lambda it: list(it.execute(STANDS)))
        finally:
            control.close()
    return recorded.history.problems(
        {(table, name): value for table, name, value in found}, recorded.at_s(point)
    )


@contextmanager
def _as_left(
    recorded: Recorded, state: StateDir, point: int, chance: random.Random | None
) -> Iterator[StateDir]:
    left = StateDir(state.root.with_name("left"))
    shutil.copytree(state.root, left.root)
    try:
        put_files(recorded.disk.after(recorded.operations[:point], chance), left.database)
        length = [*recorded.lengths, state.checkpoints.stat().st_size][point]
        if left.checkpoints.exists():
            os.truncate(left.checkpoints, length)
        yield left
    finally:
        shutil.rmtree(left.root)


def lose_everywhere(
    directory: Path, seed: int, rounds: int, torn: int, most_points: int | None = None
) -> tuple[int, list[str]]:
    """How many states of the disk were tried, and what was wrong: all dropped, and `torn` times what chance leaves."""
    chance = random.Random(seed)
    state = _state(directory)
    recorded = record(state, directory / "recorded", chance, rounds)
    points = [*recorded.points(), len(recorded.operations)]
    if most_points is not None and len(points) > most_points:
        points = sorted(chance.sample(points, most_points))
    wrong = [
        f"seed {seed}, after operation {point}: {problem}"
        for point in points
        for chances in (None, *[chance] * torn)
        for problem in lost_at(recorded, state, point, chances)
    ]
    return len(points) * (1 + torn), wrong


FAILURES = (("write", apsw.FullError), ("write", apsw.IOError), ("sync", apsw.IOError))


def fail_once(directory: Path, seed: int, did: str, error: type[apsw.Error]) -> list[str]:
    """What is wrong after the disk was full, or could not be written to, in the midst of a workload."""
    chance = random.Random(f"{seed} {did} {error.__name__}")
    state = _state(directory)
    failure = Failure(chance.randint(5, 90), did, error, stays=chance.random() < 0.5)
    recorded = record(state, directory / "recorded", chance, 30, failure)
    return [
        f"seed {seed}, {error.__name__} at a {did} after operation {failure.after}: {problem}"
        for chances in (None, chance, chance)
        for problem in lost_at(recorded, state, len(recorded.operations), chances)
    ]


def _state(directory: Path) -> StateDir:
    return new_state(directory / "state", "audit: {checkpoint_every: 3}\n").directory

"""What the rest of SONIA sees of the database: change it, with an audit row, or read it."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import apsw
import msgspec

from service.audit.chain import Chain, Head
from service.audit.checkpoints import CheckpointWriter
from service.audit.seals import SEALED, seal
from service.clock import Clock
from service.effects import Cause, Effect
from service.errors import Unavailable
from service.jsontypes import Json
from service.settings import Settings
from service.state import StateDir
from service.storage.database import PRAGMAS, open_reader
from service.storage.lanes import going_ahead
from service.storage.writer import AfterCommit, Operation, Writer, deliver_to

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
Run = Callable[[apsw.Connection], T]


def audited(
    connection: apsw.Connection, chain: Chain, at_ms: int, cause: Cause, effect: Effect[T]
) -> None:
    """The only place where effects meet the audit log: both or neither, in the transaction of `connection`."""
    told = [(each.table, each.id, each.detail) for each in effect.also]
    for table, effect_id, detail in [(effect.table, effect.id, effect.detail), *told]:
        digest = seal(connection, table, effect_id)
        sealed = {**detail, SEALED: digest} if digest else detail
        chain.append(connection, at_ms, cause, (table, effect_id), sealed)


class StorageReport(msgspec.Struct, frozen=True):
    """The database as the writer's own connection sees it."""

    sqlite_version: str
    user_version: int
    journal_mode: str
    synchronous: int
    foreign_keys: int
    trusted_schema: int
    page_count: int
    batches: int
    operations: int
    waiting: int


class Checked(msgspec.Struct, frozen=True):
    """How far the audit log was checked: its end, and the newest row with a checkpoint."""

    head: Head
    last_seq: int


class Storage:
    """One writer thread and one reading connection over an opened, migrated database whose audit log was checked."""

    def __init__(
        self,
        connection: apsw.Connection,
        state: StateDir,
        settings: Settings,
        clock: Clock,
        audit_key: bytes,
        checked: Checked,
        fatal: Callable[[str], None],
    ) -> None:
        self._path = state.database
        self._settings = settings
        self._clock = clock
        self._chain = Chain(audit_key, checked.head)
        checkpoints = CheckpointWriter(
            state.checkpoints, audit_key, settings.audit.checkpoint_every, checked.last_seq
        )
        self._writer = Writer(connection, settings.storage, self._chain, checkpoints, fatal)
        self._reader = open_reader(state.database, settings.storage)
        self._reporting: asyncio.Future[StorageReport] | None = None
        self._owed: deque[Callable[[apsw.Connection], tuple[object, AfterCommit | None]]] = deque()

    def start(self) -> None:
        """Start the writer; nothing can be changed before."""
        self._writer.start()

    def stop(self) -> None:
        """Finish what is queued, and try once more what is owed; close both connections."""
        self._reader.close()
        for run in self._owed:
            self._writer.submit(Operation(run, lambda _: None))
        self._writer.stop()

    @property
    def batches(self) -> int:
        """How many transactions were committed."""
        return self._writer.batches

    @property
    def operations(self) -> int:
        """How many operations those transactions held."""
        return self._writer.operations

    @property
    def waiting(self) -> int:
        """How many operations wait for the writer."""
        return self._writer.waiting

    @property
    def checkpoints_failed(self) -> int:
        """How many checkpoints could not be written."""
        return self._writer.checkpoints_failed

    async def change(self, cause: Cause, run: Run[Effect[T]]) -> T:
        """Apply one effect and its audit row in one transaction; return once both are durable.

        `run(connection)` makes the change and says what it was. What it raises undoes it and is
        raised here. Raises Unavailable when nothing could be committed.
        """
        return await self._await(lambda connection: self._audited(connection, cause, run))

    def change_now(self, cause: Cause, run: Run[Effect[T]]) -> T:
        """As `change`, for callers without an event loop: commands and start-up."""
        return self._block(lambda connection: self._audited(connection, cause, run))

    async def do(self, run: Run[T]) -> T:
        """Run `run(connection)` inside the batch transaction without an audit row.

        For bookkeeping that is not an effect of anybody's request.
        """
        return await self._await(lambda connection: (run(connection), None))

    def do_now(self, run: Run[T]) -> T:
        """As `do`, for start-up, where there is no event loop."""
        return self._block(lambda connection: (run(connection), None))

    def do_later(self, run: Run[object], after: AfterCommit) -> None:
        """Owe `run`, without an audit row, until `catch_up` finds that it can be committed; `after` follows."""
        self._owed.append(lambda connection: (run(connection), after))

    def change_later(self, cause: Cause, run: Run[Effect[T]]) -> None:
        """As `do_later`, for an effect and its audit row: what is known to have happened and could not be recorded."""
        self._owed.append(lambda connection: self._audited(connection, cause, run))

    async def catch_up(self) -> None:
        """Commit what is owed, the oldest first. Raises Unavailable when it still cannot be; then it stays owed."""
        while self._owed:
            try:
                await self._await(self._owed[0])
            except Unavailable:
                raise
            except Exception:
                # It will not get better by waiting, and must not keep back what comes after it.
                self._owed.popleft()
                raise
            self._owed.popleft()

    @property
    def owed(self) -> int:
        """How much happened that could not be written down yet."""
        return len(self._owed)

    def note(self, cause: Cause, detail: Mapping[str, Json]) -> None:
        """Queue an audit row about something that changed nothing, and do not wait for it."""

        def append(connection: apsw.Connection) -> tuple[None, None]:
            self._chain.append(connection, self._clock.now_ms(), cause, None, detail)
            return None, None

        self._writer.submit(Operation(append, lambda _: None))

    async def beat(self) -> None:
        """Return when the writer has come by; whatever waits for it, this waits for two batches at the most."""
        import asyncio  # noqa: PLC0415 - commands, which have no event loop, start without it

        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with going_ahead(ahead=True):
            beat: Operation[None] = Operation(lambda _: (None, None), deliver_to(future), False)
        self._writer.submit(beat, bounded=False)
        await future

    def read(self, run: Run[T]) -> T:
        """Run `run(connection)` on the reading connection, here and now; keep it short."""
        return run(self._reader)

    async def read_apart(self, run: Run[T]) -> T:
        """Run a long read in a thread of its own with a connection of its own."""
        import asyncio  # noqa: PLC0415 - commands, which have no event loop, start without it

        def apart() -> T:
            connection = open_reader(self._path, self._settings.storage)
            try:
                return run(connection)
            finally:
                connection.close()

        return await asyncio.to_thread(apart)

    async def report(self) -> StorageReport:
        """Describe the database from the writer's connection, outside any transaction.

        Everybody who asks while an answer is on its way shares it: anybody may ask, and must not be
        able to fill the writer's queue.
        """
        import asyncio  # noqa: PLC0415 - commands, which have no event loop, start without it

        if self._reporting is None:
            future: asyncio.Future[StorageReport] = asyncio.get_running_loop().create_future()
            look: Operation[StorageReport] = Operation(
                lambda connection: (self._describe(connection), None), deliver_to(future), False
            )
            self._writer.submit(look)
            self._reporting = future
            future.add_done_callback(self._reported)
        return await asyncio.shield(self._reporting)

    def _reported(self, _: "asyncio.Future[StorageReport]") -> None:
        self._reporting = None

    def _describe(self, connection: apsw.Connection) -> StorageReport:
        values = {
            name: connection.pragma(name) for name in (*PRAGMAS, "user_version", "page_count")
        }
        return msgspec.convert(
            {
                **values,
                "sqlite_version": apsw.sqlite_lib_version(),
                "batches": self._writer.batches,
                "operations": self._writer.operations,
                "waiting": self._writer.waiting,
            },
            StorageReport,
        )

    def _audited(
        self, connection: apsw.Connection, cause: Cause, run: Run[Effect[T]]
    ) -> tuple[T, AfterCommit | None]:
        effect = run(connection)
        audited(connection, self._chain, self._clock.now_ms(), cause, effect)
        return effect.result, effect.after_commit

    async def _await(self, run: Run[tuple[T, AfterCommit | None]]) -> T:
        import asyncio  # noqa: PLC0415 - commands, which have no event loop, start without it

        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        operation: Operation[T] = Operation(run, deliver_to(future))
        self._writer.submit(operation)
        return await future

    def _block(self, run: Run[tuple[T, AfterCommit | None]]) -> T:
        done = threading.Event()
        operation = Operation(run, lambda _: done.set())
        self._writer.submit(operation)
        done.wait()
        return operation.outcome()

"""The one writer: a thread that commits whatever is queued as one transaction.

Each operation runs in a savepoint of its own, so one that fails takes nothing else with it.
Decisions and cancels go before what else is queued. Answers go out only after COMMIT has returned. A failed COMMIT fails the whole batch; an error of
the disk under COMMIT is fatal, because after it nobody knows what is durable.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import apsw

from service.audit.chain import Chain, Head
from service.audit.checkpoints import CheckpointWriter
from service.errors import StateDamaged, Unavailable
from service.settings import StorageSettings
from service.storage.lanes import AHEAD, Lanes

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
AfterCommit = Callable[[], None]
UNWRITABLE: Final = "storage_unavailable"
# What a statement meets through no fault of its own; it is rolled back, so certainly nothing was changed.
_NO_ROOM: Final = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.ReadOnlyError,
    apsw.NoMemError,
)
BUSY: Final = "the database is locked by somebody else; nothing was changed"


class Operation(Generic[T_co]):
    """One function to run on the writer's connection, and where its outcome goes.

    `run` returns its result and what to do after COMMIT; `deliver` is told when it is all over.
    With `transactional` false it only looks, outside of any transaction.
    """

    def __init__(
        self,
        run: Callable[[apsw.Connection], tuple[T_co, AfterCommit | None]],
        deliver: Callable[["Operation[T_co]"], None],
        transactional: bool = True,
    ) -> None:
        self._run = run
        self._deliver = deliver
        self._results: list[T_co] = []
        self._after_commit: AfterCommit | None = None
        self.error: Exception | None = None
        self.transactional = transactional
        self.ahead = AHEAD.get()

    def attempt(self, connection: apsw.Connection) -> None:
        """Run it; whatever it raises belongs to the one who submitted it."""
        try:
            result, self._after_commit = self._run(connection)
            self._results.append(result)
        except Exception as error:  # noqa: BLE001
            self.error = error

    def committed(self) -> None:
        """Do what was to be done once the change is durable."""
        if self.error is None and self._after_commit is not None:
            self._after_commit()

    def deliver(self) -> None:
        """Tell whoever waits."""
        self._deliver(self)

    def outcome(self) -> T_co:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self._results[0]


class Writer:
    """Owns the writing connection, the audit chain's head and the thread that uses both."""

    def __init__(
        self,
        connection: apsw.Connection,
        settings: StorageSettings,
        chain: Chain,
        checkpoints: CheckpointWriter,
        fatal: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._chain = chain
        self._checkpoints = checkpoints
        self._fatal = fatal
        self._lanes: Lanes[Operation[object]] = Lanes()
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self.batches = 0
        self.operations = 0
        self.checkpoints_failed = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, write a last checkpoint of what is known to be sound, and close the connection."""
        self._lanes.close()
        self._thread.join()
        try:
            self._chain.follow(self._connection)
        except (StateDamaged, apsw.Error) as wrong:
            _say(f"{wrong}; `sonia audit verify` says more")
        self._checkpoint(self._checkpoints.write)
        self._connection.close()

    @property
    def waiting(self) -> int:
        """How many operations are queued."""
        return self._lanes.waiting()

    def submit(self, operation: Operation[object], bounded: bool = True) -> None:
        """Queue `operation`. Raises Unavailable when it is `bounded` and too many wait already in its lane."""
        if bounded and self._lanes.waiting(operation.ahead) >= self._settings.queue_max:
            raise Unavailable("too many writes are waiting", "overloaded")
        self._lanes.put(operation, operation.ahead)

    def _loop(self) -> None:
        while batch := self._lanes.take(self._settings.batch_max):
            try:
                self._process(batch)
            except Exception as error:  # noqa: BLE001 - a writer that dies silently would leave everybody waiting
                self._fatal(f"the writer failed: {error!r}")

    def _process(self, batch: list[Operation[object]]) -> None:
        for operation in batch:
            if not operation.transactional:
                operation.attempt(self._connection)
        writing = [operation for operation in batch if operation.transactional]
        if writing:
            self._commit(writing)
        for operation in batch:
            operation.deliver()

    def _commit(self, batch: list[Operation[object]]) -> None:
        before = self._chain.head
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._chain.follow(self._connection)
            for operation in batch:
                self._in_savepoint(operation)
            self._connection.execute("COMMIT")
        except (apsw.Error, StateDamaged) as failed:
            self._chain.go_back(before)
            self._fail(batch, failed)
            return
        self.batches += 1
        self.operations += len(batch)
        for operation in batch:
            operation.committed()
        self._checkpoint(self._checkpoints.advance)

    def _checkpoint(self, write: Callable[[Head], None]) -> None:
        """What is committed stays so, with or without a checkpoint; one that fails is said, and tried again later."""
        try:
            write(self._chain.head)
        except OSError as failed:
            self.checkpoints_failed += 1
            _say(f"no checkpoint of the audit log could be written: {failed}")

    def _in_savepoint(self, operation: Operation[object]) -> None:
        before = self._chain.head
        self._connection.execute("SAVEPOINT operation")
        operation.attempt(self._connection)
        if not self._connection.in_transaction:
            raise apsw.AbortError("SQLite gave the transaction up")
        if isinstance(operation.error, _NO_ROOM):
            operation.error = Unavailable(f"the database refused: {operation.error}", UNWRITABLE)
        if operation.error is not None:
            self._connection.execute("ROLLBACK TO operation")
            self._chain.go_back(before)
        self._connection.execute("RELEASE operation")

    def _fail(self, batch: list[Operation[object]], failed: apsw.Error | StateDamaged) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        if isinstance(failed, StateDamaged):
            # What was sound until now is worth a checkpoint: without it, a log that was cut off would pass the next start.
            self._checkpoint(self._checkpoints.write)
            self._fatal(f"{failed}; `sonia audit verify` says more")
        if isinstance(failed, apsw.IOError | apsw.CorruptError):
            self._fatal(f"the database cannot be written: {failed}")
        reason = BUSY if isinstance(failed, apsw.BusyError) else f"the database refused: {failed}"
        for operation in batch:
            operation.error = Unavailable(reason, UNWRITABLE)


def _say(what: str) -> None:
    import logging  # noqa: PLC0415 - commands start without it, and few of them have anything to say

    logging.getLogger("sonia.storage").error(what)


def deliver_to(future: "asyncio.Future[T]") -> Callable[[Operation[T]], None]:
    """Return a `deliver` that completes `future` in the loop it belongs to."""
    loop = future.get_loop()

    def resolve(operation: Operation[T]) -> None:
        if future.cancelled():
            return
        try:
            future.set_result(operation.outcome())
        except Exception as error:  # noqa: BLE001 - it is handed to the one who waits
            future.set_exception(error)

    def deliver(operation: Operation[T]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve, operation)

    return deliver

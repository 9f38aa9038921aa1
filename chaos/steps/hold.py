"""`hold`: hold the write lock of a live database from outside, while other steps run."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from chaos.engine.holder import HELD, free
from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.guard import end_process
from chaos.spec.kind import Kind
from chaos.spec.step import Step
from chaos.spec.units import Duration

GET_S: Final = 5.0
START_S: Final = 15.0


class Hold(Step, frozen=True, kw_only=True):
    """`hold: "{state}/control.db"` while `meanwhile: […]` is walked, or for `for: 2s`, whatever the inner steps take.

    Nobody else can write to the database then. It is tried that nobody can, when the first inner step is about to
    begin and just before the lock is given back.
    """

    hold: str
    for_: Duration | None = None
    meanwhile: list[Step] = []

    def problem(self) -> str | None:
        """A lock that is given back at once shows nothing."""
        if self.for_ is None and not self.meanwhile:
            return "`hold` needs `for`, or steps that run `meanwhile`"
        return None

    def least_s(self) -> float:
        """What it is held for."""
        return self.for_.s if self.for_ is not None else 0.0


async def run(step: Hold, scope: Scope) -> int | None:
    """Take the lock, run the inner steps, give it back. HarnessError when it was not held all the while."""
    path = scope.writable(step.hold)
    if not path.is_file():
        raise HarnessError(f"{path.name} does not exist, so its lock cannot be held")
    hold = _Hold(path, scope)
    over = asyncio.Event()
    try:
        await hold.take()
        if hold.why is not None:
            scope.skip_steps(step.meanwhile, "meanwhile", hold.why)
            raise HarnessError(f"the lock of {path.name} is not held: {hold.why}")
        keeping = asyncio.create_task(hold.keep(step.for_, over))
        try:
            await scope.run_steps(step.meanwhile, "meanwhile")
            if step.for_ is not None:
                await asyncio.shield(keeping)
        finally:
            over.set()
            await keeping
    finally:
        await hold.end()
        scope.recorder.add(
            schema.Hold,
            hold=scope.step_name(step),
            vars=as_json(scope.row_vars),
            file=path.name,
            held_ms=hold.held_ms,
            released_ms=hold.released_ms,
            proven=hold.why is None,
            why=hold.why,
        )
    if hold.why is not None:
        raise HarnessError(f"the lock of {path.name} was not held all the while: {hold.why}")
    return 1 if step.meanwhile else None


class _Hold:
    """The process that has the lock, and what was seen of it; `why` says why it is not proven."""

    def __init__(self, path: Path, scope: Scope) -> None:
        self.held_ms: float | None = None
        self.released_ms: float | None = None
        self.why: str | None = "it was never taken"
        self._path = path
        self._scope = scope
        self._process: asyncio.subprocess.Process | None = None

    async def take(self) -> None:
        """Start the process and wait until it says that it has the lock; then try whether anybody else gets it."""
        self._process = await self._scope.stack.guard.spawn_module(
            "chaos.engine.holder",
            str(self._path),
            str(GET_S),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_S + GET_S)
        except TimeoutError:
            line = b""
        said = line.decode(errors="replace").strip()
        if said != HELD:
            self.why = said or "who was to take it did not say that it has it"
            return
        self.held_ms = self._scope.clock.now_ms()
        self.why = await asyncio.to_thread(free, self._path)

    async def keep(self, for_: Duration | None, over: asyncio.Event) -> None:
        """Until it is over, or for the time; then try again and give it back."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), for_.s if for_ is not None else None)
        self.why = await asyncio.to_thread(free, self._path)
        # Stamped before it is given back: what was answered until now was answered while it was held.
        self.released_ms = self._scope.clock.now_ms()
        await self.end()

    async def end(self) -> None:
        """The end of the process, and with it of the lock. May be called twice."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await end_process(self._process, GET_S)
            self._process = None


KIND = Kind(
    "hold",
    Hold,
    run,
    paths={"hold": "written"},
    records={"holds.hold": "name"},
)

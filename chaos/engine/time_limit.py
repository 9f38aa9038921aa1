"""How long a gate may take."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType

from chaos.engine.scope import Alone
from chaos.errors import HarnessError


class TimeLimit:
    """What stands inside of it ends within `most_s`, or is cancelled and ends in HarnessError."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._timeout = asyncio.timeout(most_s)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as late:
            message = f"the gate was not over within {self._most_s:g} s: `bounds` in release.yaml may allow more"
            raise HarnessError(message) from late

    @property
    def ends_s(self) -> float | None:
        """When it is over, in the loop's time; None while that does not count."""
        return self._timeout.when()

    def left_out(self, alone: Alone) -> Alone:
        """The same, and what is waited for to be alone counts for nobody."""

        @contextlib.asynccontextmanager
        async def unhurried() -> AsyncIterator[None]:
            loop = asyncio.get_running_loop()
            deadline_s = self.ends_s
            left_s = None if deadline_s is None else deadline_s - loop.time()
            self._timeout.reschedule(None)
            async with alone():
                self._timeout.reschedule(None if left_s is None else loop.time() + left_s)
                yield

        return unhurried

"""Whether a process answers: asked directly where it listens, past every link, on a connection of its own each time."""

import asyncio
from enum import StrEnum
from typing import Final

from service.http.client import HttpClient, HttpError, HttpLimits, HttpRequest

OK: Final = 200
MISSES: Final = 3
"""So many times in a row nobody answers before a process is said to hang."""
_SLICES: Final = 10
_LATE: Final = 2.0


class Answered(StrEnum):
    """What came of one question."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # this process itself was late, so that it cannot tell


class Health:
    """Asks one process; belongs to one event loop, in which it is closed."""

    def __init__(self, url: str, within_s: float) -> None:
        self._client = HttpClient(url, {}, HttpLimits(connect_s=_SLICES * within_s))
        self._within_s = within_s

    async def ask(self, path: str) -> Answered:
        """Ask once, and wait for at most the time that was given, as far as this loop keeps it."""
        asking = asyncio.create_task(self._is_ok(path))
        late = False
        try:
            for _ in range(_SLICES):
                if await _waited_too_long(asking, self._within_s / _SLICES):
                    late = True
                if asking.done():
                    break
            if asking.done() and asking.result():
                return Answered.YES
            return Answered.UNKNOWN if late else Answered.NO
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def close(self) -> None:
        """Drop all connections."""
        await self._client.close()

    async def _is_ok(self, path: str) -> bool:
        # It is this question's waiting that is bounded, not the request's: a loop that lags cannot tell how long that took.
        request = HttpRequest("GET", path, within_s=_SLICES * self._within_s, repeatable=False)
        try:
            return (await self._client.send(request)).status == OK
        except HttpError:
            return False


async def _waited_too_long(asking: "asyncio.Task[bool]", wait_s: float) -> bool:
    """Wait, and say whether that took much longer than it should have."""
    clock = asyncio.get_running_loop().time
    began_s = clock()
    await asyncio.wait({asking}, timeout=wait_s)
    return clock() - began_s > _LATE * wait_s

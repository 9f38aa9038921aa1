"""Bundles made while the gateway runs: by `sonia incident export`, in a process of its own that nobody waits behind."""

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from service.errors import Unavailable
from service.incidents import LAST_MS
from service.incidents.bundles import DEGRADED, MANUAL, Manifest
from service.state import StateDir

WITHIN_S: Final = 60.0
_LOG: Final = logging.getLogger("sonia.incidents")


class Exporter:
    """Makes bundles in the state directory, one after the other. `flush` has what is known by now written down."""

    def __init__(self, state: StateDir, flush: Callable[[], Awaitable[None]]) -> None:
        self._state = state
        self._flush = flush
        self._one = asyncio.Lock()
        self._exporting: asyncio.Task[None] | None = None

    async def export(self, last_ms: int, reason: str = MANUAL) -> Manifest:
        """Make a bundle of the last `last_ms` milliseconds. Raises Unavailable."""
        async with self._one:
            with contextlib.suppress(OSError):
                await self._flush()
            return msgspec.json.decode(await self._run(last_ms, reason), type=Manifest)

    def degraded(self) -> None:
        """Make a bundle of what has led to degrade mode, in the background."""
        if self._exporting is None or self._exporting.done():
            self._exporting = asyncio.create_task(self._export_degraded(), name="incident")

    async def stop(self) -> None:
        """Give up what is being made."""
        if self._exporting is not None:
            self._exporting.cancel()
            await asyncio.gather(self._exporting, return_exceptions=True)

    async def _export_degraded(self) -> None:
        try:
            made = await self.export(LAST_MS, DEGRADED)
        except Unavailable as error:
            _LOG.warning("%s", error)
        else:
            _LOG.warning("incident %s was exported", made.incident_id)

    async def _run(self, last_ms: int, reason: str) -> bytes:
        command = [sys.executable, "-m", "service", "incident", "export", "--json", "--last"]
        command += [f"{last_ms}ms", "--reason", reason, "--state", str(self._state.root)]
        process = _started(command)
        try:
            output, errors = await asyncio.to_thread(process.communicate, timeout=WITHIN_S)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"the incident was not exported within {WITHIN_S:g} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            raise Unavailable(f"the incident was not exported: {errors.decode(errors='replace')}")
        return output


def _started(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Not one of asyncio's: whoever is cancelled while one of these starts may wait for its end for ever."""
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as wrong:
        raise Unavailable(f"the incident was not exported: {wrong}") from wrong

"""Processes of the target are stopped together, and started again as they were started last."""

import asyncio
import signal
from collections.abc import Awaitable, Iterable, Sequence

from chaos.engine.stack import Stack
from chaos.errors import HarnessError


def running(stack: Stack) -> list[str]:
    """Names of the processes that run, in the order of the target."""
    return [name for name in stack.target.processes if is_running(stack, name)]


def is_running(stack: Stack, name: str) -> bool:
    """Whether a process was started and has not been seen to end."""
    return name in stack.lives and stack.lives[name].alive


async def stop(stack: Stack, names: Sequence[str]) -> None:
    """SIGTERM to all at once, then the end of each; HarnessError, before any signal, when one is not running."""
    for name in names:
        if not is_running(stack, name):
            raise HarnessError(f"{name} is not running, so it cannot be stopped")
    await _all(stack.signal(name, signal.SIGTERM) for name in names)


async def start(stack: Stack, names: Iterable[str]) -> None:
    """Start all at once, with the environment that each had last, until all are ready; TargetError otherwise."""
    names = list(names)
    await _all(stack.launch(name, stack.lives[name].env) for name in names)
    await _all(stack.await_ready(name) for name in names)


async def _all(work: Iterable[Awaitable[object]]) -> None:
    """Do all of it to its end, then raise the first failure: what the others did has to be known, too."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result

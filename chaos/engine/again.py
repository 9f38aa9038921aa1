"""Processes of the target are stopped together, and started again as they were started last."""

import asyncio
import signal
from collections.abc import Awaitable, Iterable, Sequence

from chaos.engine.lives import children_of
from chaos.engine.stack import Stack
from chaos.errors import HarnessError


def running(stack: Stack) -> list[str]:
    """Names of the processes that were started and run, in the order of the target."""
    started = [name for name, spec in stack.target.processes.items() if spec.child_of is None]
    return [name for name in started if is_running(stack, name)]


def is_running(stack: Stack, name: str) -> bool:
    """Whether a process was started and has not been seen to end."""
    return name in stack.lives and stack.lives[name].alive


async def stop(stack: Stack, names: Sequence[str]) -> None:
    """SIGTERM to all at once, then the end of each and of what it had started; HarnessError, before any signal, when one is not running."""
    for name in names:
        if not is_running(stack, name):
            raise HarnessError(f"{name} is not running, so it cannot be stopped")
    await _all(stack.signal(name, signal.SIGTERM) for name in names)
    left = [child for child in _children(stack, names) if is_running(stack, child)]
    await _all(stack.signal(child, signal.SIGTERM) for child in left)


async def start(stack: Stack, names: Iterable[str]) -> None:
    """Start all at once, with the environment that each had last, until all are ready; TargetError otherwise."""
    names = list(names)
    await _all(stack.launch(name, stack.lives[name].env) for name in names)
    await _all(stack.await_ready(name) for name in [*names, *_children(stack, names)])


def _children(stack: Stack, names: Iterable[str]) -> list[str]:
    """The processes that these start."""
    return [child for name in names for child in children_of(name, stack.target.processes)]


async def _all(work: Iterable[Awaitable[object]]) -> None:
    """Do all of it to its end, then raise the first failure: what the others did has to be known, too."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result

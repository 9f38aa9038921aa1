"""Does work in several processes that end together: on Ctrl-C, on SIGTERM, and when their parent is gone."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from types import FrameType
from typing import TypeVar

from gates.interrupts import Relay, join

T = TypeVar("T")
R = TypeVar("R")

_NAME = "mutants-"


def spread(
    directory: Path,
    workers: int,
    work: Callable[[str, T], R],
    items: Sequence[T],
    tell: Callable[[T, R], None],
) -> None:
    """Call `work(directory, item)` for every item, in any order; `tell` hears of each as it is done."""
    if not items:
        return
    # Spawned, not forked: a forked worker would inherit pipes that tell guards when to act.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(items)), context, initializer=_begin, initargs=(directory,)
    ) as pool:
        running = {pool.submit(_done, work, str(directory), item): item for item in items}
        try:
            for future in as_completed(running):
                tell(running[future], future.result())
        except BaseException:
            # Each closes what it is doing; the pool is left when all have ended.
            pool.shutdown(wait=False, cancel_futures=True)
            Relay(directory).pytest_keyboard_interrupt()
            raise
        finally:
            # A number is given to another process one day.
            for path in directory.glob(f"{_NAME}*.pid"):
                path.unlink()


def _begin(directory: Path) -> None:
    join(directory, f"{_NAME}{os.getpid()}")
    signal.signal(signal.SIGINT, _leave)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _done(work: Callable[[str, T], R], directory: str, item: T) -> R:
    """With Python's own handler while something runs: asyncio lets it close what it is doing."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return work(directory, item)
    finally:
        signal.signal(signal.SIGINT, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


def _end_with_parent() -> None:
    """Guards end the targets of a worker that is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Does work in several processes that end together: on Ctrl-C, on SIGTERM, and when their parent is gone."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from gates.run.interrupts import Relay, join

T = TypeVar("T")
R = TypeVar("R")

_NAME = "pool-"


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
        running = {pool.submit(work, str(directory), item): item for item in items}
        try:
            for future in as_completed(running):
                tell(running[future], future.result())
        except BaseException:
            # Each closes what it is doing and begins nothing else.
            Relay(directory).pytest_keyboard_interrupt()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            # A number is given to another process one day.
            for path in directory.glob(f"{_NAME}*.pid"):
                path.unlink()


def _begin(directory: Path) -> None:
    join(directory, f"{_NAME}{os.getpid()}")
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """Guards end the targets of a worker that is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Judges several runs at once: DuckDB lets go of Python's lock while it works, so that a second core halves the wait."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final, TypeVar

from gates.judge.connection import Evidence

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS: Final = 4
"""More would wait for each other: what is not DuckDB's is Python's, one after the other."""


def abreast(evidence: Evidence, things: Sequence[T], judge: Callable[[Evidence, T], R]) -> list[R]:
    """What `judge` says of each, in their order. Each thread looks at the same tables by a connection of its own."""
    threads = min(MOST_THREADS, os.cpu_count() or 1, len(things))
    if threads < 2:
        return [judge(evidence, thing) for thing in things]
    free: SimpleQueue[Evidence] = SimpleQueue()
    for _ in range(threads):
        free.put(evidence.beside())

    def judged(thing: T) -> R:
        own = free.get()
        try:
            return judge(own, thing)
        finally:
            free.put(own)

    with ThreadPoolExecutor(threads, thread_name_prefix="judge") as pool:
        return list(pool.map(judged, things))

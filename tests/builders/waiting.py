"""Waits for what cannot be waited for otherwise."""

import time
from collections.abc import Callable
from pathlib import Path


def until(condition: Callable[[], object], within_s: float = 30.0) -> bool:
    """Whether the condition comes about within that time; returns as soon as it does."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_gone(pid: int) -> bool:
    """Whether a process has ended, if its parent has taken note or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True

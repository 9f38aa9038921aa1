"""What a process of tests holds open."""

import gc
import os


def open_descriptors() -> set[str]:
    """The descriptors of this process. What earlier tests left to the collector is closed first, so it can only get less."""
    gc.collect()
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a directory that lists itself

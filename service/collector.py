"""Garbage collection around a start: what a start makes stays for good, and is not looked through again and again."""

import gc


def begin_start() -> None:
    """Collect nothing from here on: a start makes a hundred thousand objects and hardly any garbage."""
    gc.disable()


def end_start() -> None:
    """Leave out of every later collection what is there now, the one at the end of the process included."""
    gc.freeze()
    gc.enable()

"""Tells all lines that are executed, by coverage.py: anew whenever there is more to tell, twenty times a second and at
the end. What a process executed in the last moments before SIGKILL is lost.
"""

import atexit
import json
import os
import pathlib
import threading
import time

import coverage

_ROOT = os.path.realpath(os.environ["CHAOS_LINES_ROOT"])
_OUT = pathlib.Path(os.environ["CHAOS_LINES_OUT"])
_EVERY_S = 0.05

_coverage = coverage.Coverage(data_file=None, config_file=False, include=[f"{_ROOT}/*"])
_coverage.set_option("run:disable_warnings", ["no-data-collected"])
_seen: dict[str, set[int]] = {}
_exit = os._exit
_process, _began = os.getpid(), time.monotonic_ns()


def _write() -> None:
    before = sum(map(len, _seen.values()))
    data = _coverage.get_data()
    for path in data.measured_files():
        name = os.path.relpath(path, _ROOT)
        _seen.setdefault(name, set()).update(data.lines(path) or ())
    if sum(map(len, _seen.values())) == before:
        return
    # Not by the number alone: a process that replaces itself keeps it.
    fresh = _OUT / f"{_process}-{_began}.new"
    text = json.dumps({name: sorted(lines) for name, lines in _seen.items()})
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(fresh.with_suffix(".json"))


def _write_until_the_end() -> None:
    """All of it in one thread: data that is in memory only is another one for each thread that asks."""
    while not _ending.wait(_EVERY_S):
        _write()
    _write()


def _end() -> None:
    # A thread that is still in coverage.py when the interpreter winds down crashes it now and then.
    _ending.set()
    _writer.join()


def _end_at_once(status: int) -> None:
    if os.getpid() == _process:
        _end()
    _exit(status)


_ending = threading.Event()
_writer = threading.Thread(target=_write_until_the_end, name="lines", daemon=True)
_coverage.start()
# After coverage.py's own, and so called before it.
atexit.register(_end)
os._exit = _end_at_once  # type: ignore[assignment,unused-ignore]
_writer.start()

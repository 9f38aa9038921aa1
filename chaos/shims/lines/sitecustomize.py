"""Tells which lines of some folders were executed, by coverage.py; put on PYTHONPATH of the system under test.

Environment: CHAOS_LINES_ROOT is the directory that the folders are in, CHAOS_LINES_OUT the directory to write to.
Each process writes one JSON file, `{path below the root: [line, …]}`, anew whenever there is more to tell,
twenty times a second and at its end. What a process executed in the last moments before SIGKILL is lost.
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
_lock = threading.Lock()
_seen: dict[str, set[int]] = {}
_exit = os._exit


def _write() -> None:
    with _lock:
        before = sum(map(len, _seen.values()))
        # Each thread gets what was executed since any of them has asked, so all of it is put together here.
        data = _coverage.get_data()
        for path in data.measured_files():
            name = os.path.relpath(path, _ROOT)
            _seen.setdefault(name, set()).update(data.lines(path) or ())
        if sum(map(len, _seen.values())) == before:
            return
        # Not by the number alone: a process that replaces itself keeps it.
        fresh = _OUT / f"{os.getpid()}-{_BEGAN}.new"
        text = json.dumps({name: sorted(lines) for name, lines in _seen.items()})
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(fresh.with_suffix(".json"))


def _write_often() -> None:
    while True:
        time.sleep(_EVERY_S)
        _write()


def _write_and_exit(status: int) -> None:
    if os.getpid() == _PROCESS:
        _write()
    _exit(status)


_PROCESS = os.getpid()
_BEGAN = time.monotonic_ns()
_coverage.start()
atexit.register(_write)
os._exit = _write_and_exit  # type: ignore[assignment,unused-ignore]
threading.Thread(target=_write_often, name="lines", daemon=True).start()

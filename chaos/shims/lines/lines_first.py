"""Tells the first of some lines that is reached, and watches no more from then on; needs nothing but Python.

It is told as soon as the line is reached, so it outlives a kill.
"""

import json
import os
import sys
import threading

_FILE, _, _listed = os.environ["CHAOS_LINES_ONLY"].rpartition(":")
_LINES = frozenset(int(line) for line in _listed.split(","))
_OUT = f"{os.environ['CHAOS_LINES_OUT']}/{os.getpid()}"


def _tell(line: int) -> None:
    file = os.open(f"{_OUT}.new", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(file, json.dumps({_FILE: [line]}).encode())
    os.close(file)
    os.replace(f"{_OUT}.new", f"{_OUT}.json")  # noqa: PTH105 - pathlib would be imported for it


def _watch_with_monitoring() -> None:
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # from Python 3.12 on
    tool = monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "lines")

    def reached(code, line):  # type: ignore[no-untyped-def]
        if line in _LINES and code.co_filename.endswith(_FILE):
            _tell(line)
            monitoring.set_events(tool, 0)
        return monitoring.DISABLE

    monitoring.register_callback(tool, monitoring.events.LINE, reached)
    monitoring.set_events(tool, monitoring.events.LINE)


def _watch_with_trace() -> None:
    told = False

    def in_frame(frame, event, _argument):  # type: ignore[no-untyped-def]
        nonlocal told
        if told:
            return None
        if event == "line" and frame.f_lineno in _LINES:
            told = True
            _tell(frame.f_lineno)
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type,unused-ignore]
            return None
        return in_frame

    def at_call(frame, _event, _argument):  # type: ignore[no-untyped-def]
        if told or not frame.f_code.co_filename.endswith(_FILE):
            return None
        return in_frame

    threading.settrace(at_call)
    sys.settrace(at_call)


if hasattr(sys, "monitoring"):
    _watch_with_monitoring()
else:
    _watch_with_trace()

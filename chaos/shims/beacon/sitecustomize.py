"""Tells that one of some lines was executed, by making a file; put on PYTHONPATH of the system under test.

Environment: CHAOS_BEACON_FILE is the end of the module's path, CHAOS_BEACON_LINES the lines, comma separated,
CHAOS_BEACON_OUT the file to make. It watches until the first of the lines is reached and then no more. The
file is there as soon as the line is reached, so it outlives a kill.
"""

import os
import sys
import threading

_FILE = os.environ["CHAOS_BEACON_FILE"]
_LINES = frozenset(int(line) for line in os.environ["CHAOS_BEACON_LINES"].split(","))
_OUT = os.environ["CHAOS_BEACON_OUT"]


def _light() -> None:
    os.close(os.open(_OUT, os.O_WRONLY | os.O_CREAT, 0o644))


def _watch_with_monitoring() -> None:
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # from Python 3.12 on
    tool = monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "beacon")

    def reached(code, line):  # type: ignore[no-untyped-def]
        if line in _LINES and code.co_filename.endswith(_FILE):
            _light()
            monitoring.set_events(tool, 0)
        return monitoring.DISABLE

    monitoring.register_callback(tool, monitoring.events.LINE, reached)
    monitoring.set_events(tool, monitoring.events.LINE)


def _watch_with_trace() -> None:
    lit = False

    def in_frame(frame, event, _argument):  # type: ignore[no-untyped-def]
        nonlocal lit
        if lit:
            return None
        if event == "line" and frame.f_lineno in _LINES:
            lit = True
            _light()
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type,unused-ignore]
            return None
        return in_frame

    def at_call(frame, _event, _argument):  # type: ignore[no-untyped-def]
        if lit or not frame.f_code.co_filename.endswith(_FILE):
            return None
        return in_frame

    threading.settrace(at_call)
    sys.settrace(at_call)


if hasattr(sys, "monitoring"):
    _watch_with_monitoring()
else:
    _watch_with_trace()

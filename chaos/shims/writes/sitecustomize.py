"""Records what a process does to one SQLite database that it opens with apsw; put on PYTHONPATH of the system under test.

Environment: CHAOS_WRITES_OF is the database, CHAOS_WRITES_OUT the directory to write to. Whoever else has a `sitecustomize`
on the path is run as well.
"""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib would be imported for it


def _run_the_next() -> None:
    elsewhere = [path for path in sys.path if os.path.abspath(path) != _HERE]  # noqa: PTH100
    found = importlib.machinery.PathFinder.find_spec("sitecustomize", elsewhere)
    if found is not None and found.loader is not None:
        found.loader.exec_module(importlib.util.module_from_spec(found))


if "CHAOS_WRITES_OF" in os.environ:
    from recorded_writes import (  # type: ignore[import-not-found,unused-ignore]
        RecordedVFS,
        Recording,
    )

    _vfs = RecordedVFS(Recording(os.environ["CHAOS_WRITES_OF"], os.environ["CHAOS_WRITES_OUT"]))
_run_the_next()

"""Tells which lines of some folders a process executes; put on PYTHONPATH of the system under test.

Environment: CHAOS_LINES_ROOT is the directory that the folders are in, CHAOS_LINES_OUT the directory to write to: one JSON
file of each process, `{path below the root: [line, …]}`. With CHAOS_LINES_ONLY, a `path:line,line`, nothing but the first of these
lines that is reached is told.
"""

import os

if "CHAOS_LINES_ONLY" in os.environ:
    import lines_first  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
else:
    import lines_all  # type: ignore[import-not-found,unused-ignore]  # noqa: F401

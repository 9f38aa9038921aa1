"""Shifts the wall clock of one process through libfaketime; its monotonic clock stays true.

The shift stands in a file that the library reads at every call, so a running process can be moved too.

    python -m chaos.shims.faketime 86400 service doctor

runs a Python module with a wall clock that is a day ahead.
"""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Final, NoReturn

from chaos.errors import HarnessError

_WALL_CLOCK_ONLY: Final = {
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    # Its correction of waits on the monotonic clock makes them end at the wrong time, if that clock is left alone:
    # threads then wait for each other for up to seconds.
    "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    "FAKETIME_DONT_RESET": "1",
    "NO_FAKE_STAT": "1",
}


def _library() -> Path:
    spec = importlib.util.find_spec("libfaketime")
    if spec is None or spec.origin is None:
        raise HarnessError("libfaketime is not installed: pip install libfaketime")
    library = Path(spec.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    if not library.exists():
        raise HarnessError("the installed libfaketime has no library for this system")
    return library


def clock_environment(directory: Path, process: str, offset_ms: float) -> dict[str, str]:
    """Environment variables that start a process with its wall clock shifted by `offset_ms`."""
    set_clock(directory, process, offset_ms)
    return {
        "LD_PRELOAD": str(_library()),
        "FAKETIME_TIMESTAMP_FILE": str(_file(directory, process)),
        "FAKETIME_NO_CACHE": "1",
        **_WALL_CLOCK_ONLY,
    }


def set_clock(directory: Path, process: str, offset_ms: float) -> None:
    """Move the clock of a process that was started with a shifted one."""
    path = _file(directory, process)
    scratch = path.with_suffix(".new")
    scratch.write_text(f"{offset_ms / 1000:+.3f}\n")
    scratch.replace(path)


def is_shifted(directory: Path, process: str) -> bool:
    """Whether the process was started with a clock that can be moved."""
    return _file(directory, process).exists()


def _file(directory: Path, process: str) -> Path:
    return directory / f"clock.{process}"


def main() -> NoReturn:
    """Become a Python module under another clock: seconds ahead, module, arguments."""
    ahead_s, *module = sys.argv[1:]
    shifted = {"LD_PRELOAD": str(_library()), "FAKETIME": f"{float(ahead_s):+.3f}"}
    command = [sys.executable, "-m", *module]
    os.execve(sys.executable, command, {**os.environ, **shifted, **_WALL_CLOCK_ONLY})  # noqa: S606 - nobody's shell


if __name__ == "__main__":
    main()

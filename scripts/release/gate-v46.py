"""Runs the gates of SONIA v4.6.0: the same as `python -m gates run`, with its options and exit codes.

An interpreter without the project's packages lets nox install them, once, into an environment of their own.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
PROVIDED = ROOT / ".nox" / "gates" / "bin" / "python"
OURS = ("chaos", "gates", "service")
EXIT_BROKEN = 4


def main(arguments: list[str]) -> None:
    """Run the gates in this interpreter, or in the one that nox provides."""
    sys.path.insert(0, str(ROOT))
    try:
        from gates.cli import run_and_leave  # noqa: PLC0415 - whether that is possible is the question
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in OURS:
            raise
        through_nox(arguments, f"the package {error.name} is missing")
    except SyntaxError:
        through_nox(arguments, f"Python {sys.version.split()[0]} is too old")
    run_and_leave(["run", *arguments])


def through_nox(arguments: list[str], why: str) -> NoReturn:
    """Let nox install what the gates need, then become the interpreter that has it."""
    if shutil.which("nox") is not None:
        nox = ["nox"]
    elif importlib.util.find_spec("nox") is not None:
        nox = [sys.executable, "-m", "nox"]
    else:
        advice = (
            "install nox (`python -m pip install nox`), which installs the rest, and run this again"
        )
        print(f"error: {why}: {advice}", file=sys.stderr)
        sys.exit(EXIT_BROKEN)
    # Nox would turn every exit code of the gates into 1, so it only installs.
    install = ["--noxfile", str(ROOT / "noxfile.py"), "--session", "gates", "--install-only"]
    if subprocess.run([*nox, *install], stdout=sys.stderr, check=False).returncode != 0:
        sys.exit(EXIT_BROKEN)
    sys.stderr.flush()
    os.execv(PROVIDED, [str(PROVIDED), "-m", "gates", "run", *arguments])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])

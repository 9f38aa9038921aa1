"""Runs the gates of SONIA v4.6.0: the same as `python -m gates run`, with its options and exit codes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gates.cli import run_and_leave

if __name__ == "__main__":
    run_and_leave(["run", *sys.argv[1:]])

"""Runs the gates of SONIA v4.6.0: the same as `python -m gates run`, with its options and exit codes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gates.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))

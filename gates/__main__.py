"""`python -m gates`."""

import sys

from gates.cli import run_and_leave

if __name__ == "__main__":
    run_and_leave(sys.argv[1:])

"""`python -m gates`."""

import sys

from gates.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

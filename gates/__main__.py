"""`python -m gates`."""

import gc
import sys

if __name__ == "__main__":
    # A start makes many objects and hardly any garbage: nothing of it is looked through, now or later.
    gc.disable()
    from gates.cli import run_and_leave

    gc.freeze()
    gc.enable()
    run_and_leave(sys.argv[1:])

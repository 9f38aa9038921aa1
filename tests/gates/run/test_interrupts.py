"""SIGTERM ends a run also where a shell started it with SIGINT ignored, as it does in the background."""

import subprocess
import sys

CODE = """
import os, signal
from gates.run.interrupts import heed_sigterm
heed_sigterm()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
except KeyboardInterrupt:
    print("ended")
"""


def test_sigterm_ends_what_was_started_in_the_background() -> None:
    ignoring = f'trap "" INT; exec "{sys.executable}" -c "$1"'
    ended = subprocess.run(
        ["sh", "-c", ignoring, "sh", CODE], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.stdout, ended.returncode) == ("ended\n", 0)

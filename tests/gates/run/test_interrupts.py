"""An interrupt ends a process in order, wherever it comes, and SIGTERM does so in the background too."""

import subprocess
import sys
from pathlib import Path

import pytest

IGNORING = """
import os, signal
from gates.run.interrupts import heed_sigterm
heed_sigterm()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
except KeyboardInterrupt:
    print("ended")
"""
# Interrupts at every third line that Python executes in the life of a loop, asyncio's own included.
ANYWHERE = """
import asyncio, gc, os, signal, sys
from pathlib import Path
from gates.run import interrupts

async def work():
    try:
        await asyncio.sleep(0)
    finally:
        closed.append(await asyncio.sleep(0, "closed"))

def interrupted_at(number):
    global lines
    lines = 0

    def trace(frame, event, argument):
        global lines
        lines += event == "line"
        if lines == number:
            sys.settrace(None)
            os.kill(os.getpid(), signal.SIGINT)
        return trace if lines < number else None

    sys.settrace(trace)
    try:
        interrupts.run_async(work)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False

number, lines, closed = 0, 0, []
while lines >= number:
    number += 3
    closed.clear()
    if sys.argv[1] == "worker":
        interrupts.join(Path(sys.argv[2]), "worker")
    # What comes last of all is heard of by what a worker would do next.
    assert interrupted_at(number) or lines < number or interrupted_at(0), number
    assert closed in ([], ["closed"]), number
gc.collect()
print("ended", number > 100)
"""


def test_sigterm_ends_what_was_started_in_the_background() -> None:
    ignoring = f'trap "" INT; exec "{sys.executable}" -c "$1"'
    ended = subprocess.run(
        ["sh", "-c", ignoring, "sh", IGNORING],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.stdout, ended.returncode) == ("ended\n", 0)


@pytest.mark.parametrize("process", ["worker", "controller"])
def test_an_interrupt_leaves_nothing_half_made(process: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "default", "-c", ANYWHERE, process, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.stdout, ended.stderr) == ("ended True\n", "")

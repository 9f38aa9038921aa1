"""Processor time goes on counting when a process ends, and counts it once."""

import os
import subprocess
import sys
import time

from chaos.engine.usage import Usage, usage

BUSY = "import time\nwhile time.process_time() < 0.16: pass\nprint('spent', flush=True)\ninput()"


def test_what_is_spent_counts_while_a_process_lives_and_when_it_has_ended() -> None:
    before = usage([])
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "spent\n"
        alive = usage([process.pid]).since(before)
        process.communicate("\n")
    ended = usage([process.pid]).since(before)
    for spent in (alive, ended):
        assert 140 <= spent.started_ms < 2000
    assert ended.started_ms >= alive.started_ms - 1000 / os.sysconf("SC_CLK_TCK")


def test_own_time_is_told_apart() -> None:
    before = usage([])
    began_s = time.process_time()
    while time.process_time() - began_s < 0.05:
        pass
    spent = usage([]).since(before)
    assert spent.own_ms >= 45
    assert spent.started_ms == 0


def test_since() -> None:
    assert Usage(5.0, 7.0).since(Usage(2.0, 3.0)) == Usage(3.0, 4.0)

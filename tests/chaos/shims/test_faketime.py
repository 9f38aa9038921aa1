"""A shifted clock shifts nothing else."""

import os
import subprocess
import sys
import time
from pathlib import Path

from chaos.shims.faketime import clock_environment

TURNS = 20
THREADS = f"""
import threading, time
stop = threading.Event()
def count():
    while not stop.is_set():
        sum(range(1000))
threading.Thread(target=count).start()
for _ in range({TURNS}):
    time.sleep(0.0001)
stop.set()
print(time.process_time())
"""


def processor_s(environment: dict[str, str]) -> float:
    """How long one thread works until another was given its turn twenty times, the better of two."""
    ran = [
        subprocess.run(
            [sys.executable, "-c", THREADS],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        for _ in range(2)
    ]
    return min(float(each.stdout) for each in ran)


def test_threads_take_turns_as_without_it(tmp_path: Path) -> None:
    shifted = processor_s(clock_environment(tmp_path, "web", -3_600_000.0))
    # At most an interval for each turn; less where a busy machine takes the processor from whoever counts. Waits that
    # end at the wrong time made it six times as long.
    usual = max(processor_s({}), TURNS * sys.getswitchinterval())
    assert shifted < 3 * usual


def test_a_module_runs_a_day_ahead(tmp_path: Path) -> None:
    (tmp_path / "now.py").write_text("import time; print(time.time())")
    before_s = time.time()
    command = [sys.executable, "-m", "chaos.shims.faketime", "86400", "now"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=60)
    assert before_s + 86400 <= float(ran.stdout) + 0.01

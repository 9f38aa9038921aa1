"""Milliseconds on one origin for all processes of a host."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos.clock import RunClock, boot_id


def test_time_counts_from_the_origin_and_agrees_with_the_wall_clock() -> None:
    clock = RunClock(origin_s=100.0, epoch_ms=5_000.0)
    assert clock.at_ms(100.25) == 250.0
    assert clock.from_wall_ms(5_250.0) == 250.0


def test_the_wall_clock_at_the_origin_is_kept() -> None:
    clock = RunClock()
    assert clock.epoch_ms == pytest.approx(time.time() * 1000 - clock.now_ms(), abs=1000)
    assert abs(clock.drift_ms()) < 1000


def test_another_process_that_is_told_the_origin_has_the_same_time() -> None:
    clock = RunClock()
    code = f"from chaos.clock import RunClock; print(RunClock({clock.origin_s!r}).now_ms())"
    before_ms = clock.now_ms()
    output = subprocess.check_output([sys.executable, "-c", code], timeout=20)
    assert before_ms <= float(output) <= clock.now_ms()


def test_the_boot_id_is_the_kernels() -> None:
    path = Path("/proc/sys/kernel/random/boot_id")
    assert boot_id() == (path.read_text().strip() if path.exists() else "unknown")

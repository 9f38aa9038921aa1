"""Whose a process is can be told at every moment of its life."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import marks
from chaos.marks import all_pids, carries, environment_of

MARK = b"MARK=of this test"
ENVIRONMENT = {"MARK": "of this test"}


@pytest.fixture
def busy() -> Iterator[None]:
    """A process for each core, so that one that was just started has to wait for its turn."""
    loop = [sys.executable, "-S", "-c", "while True: pass"]
    others = [subprocess.Popen(["timeout", "60", *loop]) for _ in range(os.cpu_count() or 1)]
    yield
    for other in others:
        other.terminate()
        other.wait()


@pytest.mark.usefixtures("busy")
def test_a_process_is_known_from_its_first_instant_on() -> None:
    """Without a wait for the end of the exec most of these looks see no environment at all."""
    for _ in range(50):
        process = subprocess.Popen(["sleep", "60"], env=ENVIRONMENT)
        seen = carries(process.pid, MARK)
        process.kill()
        process.wait()
        assert seen


def test_one_that_becomes_another_program_again_and_again_stays_known(tmp_path: Path) -> None:
    script = tmp_path / "again"
    script.write_text('#!/bin/sh\nexec "$0"\n')
    script.chmod(0o755)
    process = subprocess.Popen([str(script)], env=ENVIRONMENT)
    try:
        assert all(carries(process.pid, MARK) for _ in range(300))
    finally:
        process.kill()
        process.wait()


def test_one_that_was_given_no_environment_is_nobodys_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = subprocess.Popen(["sleep", "60"], env={})
    monkeypatch.setattr(marks, "EXEC_WITHIN_S", float("inf"))
    found: list[bool] = []
    looking = threading.Thread(target=lambda: found.append(carries(process.pid, MARK)), daemon=True)
    looking.start()
    looking.join(30)
    process.kill()
    process.wait()
    assert found == [False]


def test_zombies_and_what_has_gone_are_nobodys() -> None:
    process = subprocess.Popen(["sleep", "60"], env=ENVIRONMENT)
    assert carries(process.pid, MARK)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process.pid in all_pids()
    assert not carries(process.pid, MARK)
    process.wait()
    assert not carries(process.pid, MARK)


def test_a_mark_is_one_whole_variable() -> None:
    process = subprocess.Popen(["sleep", "60"], env=ENVIRONMENT)
    try:
        assert environment_of(process.pid) == MARK + b"\0"
        assert not carries(process.pid, b"MARK=of this")
        assert not carries(process.pid, b"of this test")
    finally:
        process.kill()
        process.wait()

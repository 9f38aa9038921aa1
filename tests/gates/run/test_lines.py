"""Which lines a process executed is known however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gates.run.lines import ONLY, SHIM, telling, told
from tests.e2e.command import until

MODULE = """\
import os, other, sys, threading, time
def never():
    return 0
def told():
    return 1
def in_a_thread():
    told()
def main():
    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    end = sys.argv[1]
    if end == "exit":
        sys.exit(78)
    if end == "kill":
        os.kill(os.getpid(), 9)
    if end == "os._exit":
        os._exit(3)
    print("here", flush=True)
    time.sleep(60)
main()
"""


def lines(told: Path, file: str = "folder/module.py") -> set[int]:
    """What was told so far of a file."""
    found = [
        msgspec.json.decode(path.read_bytes(), type=dict[str, set[int]])
        for path in told.glob("*.json")
    ]
    return {line for each in found for line in each.get(file, ())}


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("exit", 78),
        ("os._exit", 3),
        (signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=str,
)
def test_lines_of_a_process(tmp_path: Path, end: str | int, code: int) -> None:
    folder, told = tmp_path / "folder", tmp_path / "told"
    folder.mkdir()
    told.mkdir()
    (folder / "module.py").write_text(MODULE)
    (folder / "other.py").write_text("from third import *\n")
    (folder / "third.py").write_text("\n\n\na = 1\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(SHIM),
        "CHAOS_LINES_ROOT": str(tmp_path),
        "CHAOS_LINES_OUT": str(told),
    }
    command = [sys.executable, str(folder / "module.py"), str(end)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        if not isinstance(end, str):
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            until(lambda: 20 in lines(told), "the last line is told")
            process.send_signal(end)
        assert process.wait(30) == code
    executed = lines(told)
    assert {1, 2, 4, 5, 7, 9, 10, 11, 12, 21} <= executed
    assert 3 not in executed
    assert lines(told, "folder/other.py") == {1}
    assert lines(told, "folder/third.py") == {4}
    assert list(told.glob("*.new")) == []


@pytest.mark.parametrize(("only", "first"), [("3,5", {5}), ("3", set())])
def test_the_first_of_some_lines_is_known_even_after_a_kill(
    tmp_path: Path, only: str, first: set[int]
) -> None:
    folder, out = tmp_path / "folder", tmp_path / "told"
    folder.mkdir()
    (folder / "module.py").write_text(MODULE)
    (folder / "other.py").write_text("")
    environment = {**os.environ, **telling(tmp_path, out), ONLY: f"folder/module.py:{only}"}
    command = [sys.executable, str(folder / "module.py"), "kill"]
    ended = subprocess.run(command, env=environment, check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    assert told(out) == ({"folder/module.py": first} if first else {})

"""Whatever ends a worker ends everything that it started."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.guard import Guard, end_process, send_signal
from tests.builders.waiting import is_gone, until

PATIENCE_S = 15.0

# A worker whose child has a child in a session of its own, and one whose environment is empty.
WORKER = """
import asyncio, sys
from chaos.guard import Guard

# One write per line: the three of them share a pipe.
TELL = "import os, time; os.write(1, f'{os.getpid()}{os.linesep}'.encode()); time.sleep(60)"
CHILD = f'''
import subprocess, sys
for options in ({{"start_new_session": True}}, {{"env": {{}}}}):
    subprocess.Popen([sys.executable, "-c", {TELL!r}], **options)
exec({TELL!r})
'''

async def main():
    guard = Guard()
    print(guard._process.pid, flush=True)
    print(guard.directory, flush=True)
    await guard.spawn([sys.executable, "-c", CHILD], stdout=sys.stdout)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_a_worker_whatever_ends_it(number: int) -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    guard = int(worker.stdout.readline())
    directory = Path(worker.stdout.readline().strip())
    pids = [guard, *(int(worker.stdout.readline()) for _ in range(3))]
    assert not any(map(is_gone, pids))
    (directory / "state").write_text("what a target keeps")
    worker.send_signal(number)
    worker.wait(timeout=15)
    assert until(lambda: all(map(is_gone, pids)), PATIENCE_S)
    assert not directory.exists()


def test_ctrl_c_at_the_terminal_does_not_reach_what_was_started() -> None:
    async def started_in_another_session() -> bool:
        guard = Guard()
        try:
            process = await guard.spawn(["sleep", "600"])
            return os.getsid(process.pid) == process.pid != os.getsid(0)
        finally:
            guard.close()

    assert asyncio.run(started_in_another_session())


def test_closing_waits_until_all_is_gone_and_may_be_repeated() -> None:
    async def run() -> int:
        guard = Guard()
        process = await guard.spawn([sys.executable, "-c", "import time; time.sleep(600)"])
        guard.close()
        guard.close()
        assert is_gone(process.pid)
        return await process.wait()

    assert asyncio.run(run()) == -signal.SIGKILL


def test_the_environment_is_the_given_one_and_the_marker() -> None:
    async def run() -> bytes:
        guard = Guard()
        try:
            process = await guard.spawn(
                ["env"], env={"A": "1"}, stdout=asyncio.subprocess.PIPE, cwd=Path("/")
            )
            output, _ = await process.communicate()
            return output.replace(guard.marker.encode(), b"MARKER")
        finally:
            guard.close()

    assert sorted(asyncio.run(run()).split()) == [b"A=1", b"MARKER"]


STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize("ignores", [True, False])
def test_ending_a_process_ends_its_group(ignores: bool) -> None:
    async def run() -> tuple[int | None, int]:
        guard = Guard()
        code = STUBBORN if ignores else STUBBORN.replace("SIG_IGN", "SIG_DFL")
        process = await guard.spawn([sys.executable, "-c", code], stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        child = int(await process.stdout.readline())
        await end_process(process, 0.2 if ignores else 10)
        guard.close()
        return process.returncode, child

    code, child = asyncio.run(run())
    # The child that was asked to end takes its parent along where that one waits for it.
    assert code in ((0, -signal.SIGKILL) if ignores else (-signal.SIGTERM,))
    assert until(lambda: is_gone(child), PATIENCE_S)


def test_ending_what_has_ended_is_no_error() -> None:
    async def run() -> int | None:
        guard = Guard()
        process = await guard.spawn(["true"])
        await process.wait()
        await end_process(process, 1.0)
        guard.close()
        return process.returncode

    assert asyncio.run(run()) == 0


# A child that is held up between its fork and the program that it is to become, as a busy machine may do.
HELD_UP = """
import os, sys
from chaos.guard import Guard

guard = Guard()
name, _, value = guard.marker.partition("=")
child = os.fork()
if child == 0:
    os.setsid()
    os.closerange(3, 100)
    os.close(os.open(sys.argv[1], os.O_RDONLY))
    os.execve("/bin/sleep", ["sleep", "600"], {name: value})
print(guard._process.pid, child, flush=True)
sys.stdin.read()
"""


def test_what_was_just_being_started_when_its_worker_went_ends_too(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    worker = subprocess.Popen(
        [sys.executable, "-c", HELD_UP, str(pipe)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    guard, child = map(int, worker.stdout.readline().split())
    worker.kill()
    worker.wait()
    assert not until(lambda: is_gone(guard), within_s=0.5)
    pipe.write_text("")
    assert until(lambda: is_gone(child), PATIENCE_S)
    assert until(lambda: is_gone(guard), PATIENCE_S)


def test_a_signal_to_a_child_that_has_just_ended_takes_its_exit_code_from_nobody() -> None:
    async def ended() -> int:
        process = await asyncio.create_subprocess_exec("sleep", "60")
        os.kill(process.pid, signal.SIGKILL)
        # Until it is seen to be dead it is looked at by whoever is told to send it something.
        while process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                send_signal(process, signal.SIGTERM)
            await asyncio.sleep(0)
        with pytest.raises(ProcessLookupError):
            send_signal(process, signal.SIGTERM)
        return process.returncode

    async def all_ended() -> list[int]:
        return [await ended() for _ in range(40)]

    assert set(asyncio.run(all_ended())) == {-signal.SIGKILL}


# A child in a session of its own that ends once it has lost its parent, and a parent that ends with 7.
ORPHANING = """
import os
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.close(write)
    os.write(1, f"{os.getpid()}{os.linesep}".encode())
    os.read(read, 1)
    os._exit(3)
os.close(read)
os._exit(7)
"""


def test_what_was_adopted_and_ends_by_itself_is_let_go_and_no_exit_code_is_taken() -> None:
    async def run() -> None:
        guard = Guard()
        try:
            started = [
                await guard.spawn([sys.executable, "-c", ORPHANING], stdout=subprocess.PIPE)
                for _ in range(3)
            ]
            orphans = []
            for process in started:
                assert process.stdout is not None
                orphans.append(int(await process.stdout.readline()))
            while any(Path(f"/proc/{pid}").exists() for pid in orphans):
                guard.reap()
                await asyncio.sleep(0.001)
            assert [await process.wait() for process in started] == [7, 7, 7]
        finally:
            guard.close()

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S * 4))


def test_one_that_has_ended_before_it_is_waited_for_is_nobodys_orphan() -> None:
    guard = Guard()
    try:
        process = subprocess.Popen(["sh", "-c", "exit 9"])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        guard.reap()
        assert process.wait() == 9
    finally:
        guard.close()

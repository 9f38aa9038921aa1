"""Real processes: what is ended is gone with all that came of it, and who asks them what."""

import asyncio
import socket
import subprocess
import sys
import time

import pytest

from service.effects import system_cause
from service.errors import Conflict, NotFound
from service.processes import BEHIND
from service.supervisor.health import Answered, Health
from service.supervisor.status import NOT_KNOWN, ServiceState, Unsupervised, degraded

# In a process of its own: it takes all of its children for those of the process that it spawned.
STORY = """
import asyncio, os, signal, sys
from contextlib import nullcontext
from service.processes import PROCESSES
from service.supervisor.child import Nursery
from service.supervisor.handover import Handed

# A daemon, in a session of its own, that outlives who started it and is deaf to SIGTERM; and a process that is stopped.
LEAVES = "import os, signal, time\\nif os.fork() == 0:\\n os.setsid()\\n signal.signal(15, signal.SIG_IGN)\\n"
LEAVES += " print(os.getpid(), flush=True)\\n time.sleep(600)\\nos.kill(os.getpid(), {}); time.sleep(600)"

def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

async def main():
    for signal_ in (signal.SIGKILL, signal.SIGSTOP):
        read, write = os.pipe()
        command = [sys.executable, "-c", LEAVES.format(int(signal_))]
        os.dup2(write, 1)
        nursery = Nursery(lambda _: command, lambda _: nullcontext(Handed({})))
        nursery.adopt()
        changed = asyncio.Event()
        child = nursery.spawn(PROCESSES["memory"], changed.set)
        daemon = int(await asyncio.to_thread(os.read, read, 100))
        if signal_ is signal.SIGKILL:
            await changed.wait()
            assert child.exit == -9 and alive(daemon)
        await child.end(0)
        assert not alive(daemon) and not alive(child.pid), "something is left"

asyncio.run(main())
"""


def test_what_is_ended_is_gone_with_what_it_has_left_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORY], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def listening() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(60)
    return server


def url(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


async def asked(server: socket.socket, answer: bytes | None, within_s: float = 60.0) -> Answered:
    """What is found out about a server that gives `answer` to one question; None is silence."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer or b"")

    serving = asyncio.create_task(asyncio.to_thread(serve)) if answer is not None else None
    health = Health(url(server), within_s)
    try:
        return await health.ask("/healthz")
    finally:
        await health.close()
        if serving is not None:
            await serving


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Answered.YES),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", Answered.NO),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", Answered.NO),
        (b"hello\r\n", Answered.NO),
        (b"", Answered.NO),
    ],
)
def test_only_an_answer_of_200_shows_that_a_process_works(answer: bytes, found: Answered) -> None:
    with listening() as server:
        assert asyncio.run(asked(server, answer)) is found


def test_while_this_process_is_late_nobody_is_said_to_be_silent() -> None:
    async def late() -> Answered:
        asyncio.get_running_loop().call_later(0.2, time.sleep, 1.5)
        return await asked(server, None, within_s=1.0)

    with listening() as server:
        assert asyncio.run(late()) is Answered.UNKNOWN


def test_a_gateway_without_children_says_so() -> None:
    nobody = Unsupervised()
    assert {each.state for each in nobody.statuses()} == {ServiceState.UNSUPERVISED}
    assert [each.name for each in nobody.statuses()] == [each.name for each in BEHIND]
    cause = system_cause("test", "act", "req_test")
    for ask in (nobody.restart, nobody.reset):
        with pytest.raises(Conflict):
            asyncio.run(ask("memory", cause))
        with pytest.raises(NotFound):
            asyncio.run(ask("gateway", cause))


def test_while_the_database_cannot_be_read_no_restart_is_left_to_anybody() -> None:
    assert {each.name for each in degraded()} == {each.name for each in BEHIND}
    for each in degraded():
        assert (each.attempt_count, each.exhausted, each.synthetic) == (NOT_KNOWN, True, True)
        assert each.pid is None

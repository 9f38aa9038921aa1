"""What the service manager is told, over a real socket: by a gateway process, and only while it goes on."""

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from service.effects import system_cause
from service.errors import Unavailable
from service.gateway.server import goes_on
from service.keys import Link
from service.notify import Alive, ServiceManager
from service.processes import BEHIND
from service.storage.lanes import going_ahead
from service.supervisor.child import Nursery
from service.supervisor.handover import Handover
from tests.service.gateway.inprocess import inside
from tests.service.running import State, environment, free_port, run_gateway

Told = socket.socket
WITHIN_US = 800_000
QUEUE_MAX = 2


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(60)
        yield bound


def named(told: Told, pid: str | None = None) -> dict[str, str]:
    found = {"NOTIFY_SOCKET": told.getsockname(), "WATCHDOG_USEC": f"{WITHIN_US}"}
    return found if pid is None else {**found, "WATCHDOG_PID": pid}


def heard(told: Told) -> list[str]:
    """All that was said until now."""
    told.setblocking(False)
    words = []
    try:
        while True:
            words.append(told.recv(64).decode())
    except BlockingIOError:
        return words


@pytest.mark.parametrize("lost", [False, True])
def test_a_gateway_says_that_it_listens_lives_and_ends(
    state: State, told: Told, lost: bool
) -> None:
    if lost:
        state.directory.database.write_bytes(b"")
        state.directory.sentinel.touch()
    port = free_port()
    process = subprocess.Popen(run_gateway(state), env={**environment(port), **named(told)})
    try:
        assert told.recv(64) == b"READY=1"
        socket.create_connection(("127.0.0.1", port)).close()
        for _ in range(3):
            assert told.recv(64) == b"WATCHDOG=1"
        process.terminate()
        while (said := told.recv(64)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"
        assert process.wait(60) == 0
        assert heard(told) == []
    finally:
        process.kill()
        process.wait()


async def live(environ: Mapping[str, str], alive: Alive | None = None) -> None:
    manager = ServiceManager(environ, alive) if alive else ServiceManager(environ)
    manager.serving()
    await manager.ending()


def test_there_is_no_sign_of_life_before_what_has_to_go_on_has_come_by(told: Told) -> None:
    async def run() -> None:
        asked, comes_by, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        rounds = [asked.set, lambda: None, over.set]

        async def alive() -> None:
            rounds.pop(0)()
            if rounds:
                await comes_by.wait()
            else:
                raise Unavailable("it fails")

        manager = ServiceManager(named(told, f"{os.getpid()}"), alive)
        manager.serving()
        await asked.wait()
        assert heard(told) == ["READY=1"]
        comes_by.set()
        await over.wait()
        await manager.ending()
        assert heard(told) == ["WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]

    asyncio.run(run())


@pytest.mark.parametrize(
    "other", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_PID": "x"}, {"WATCHDOG_USEC": "0"}]
)
def test_who_is_not_watched_gives_no_sign_of_life(told: Told, other: dict[str, str]) -> None:
    async def never() -> None:
        pytest.fail("it is not asked for")

    asyncio.run(live({**named(told), **other}, never))
    assert heard(told) == ["READY=1", "STOPPING=1"]


def test_an_abstract_name_and_one_that_nobody_listens_to() -> None:
    name = f"sonia-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0{name}")
        asyncio.run(live({"NOTIFY_SOCKET": f"@{name}"}))
        assert heard(bound) == ["READY=1", "STOPPING=1"]
    for other in f"@{name}", "", "/none":
        asyncio.run(live({"NOTIFY_SOCKET": other}))


async def turns(count: int = 100) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_gateway_goes_on_when_its_writer_has_come_by_however_much_waits(state: State) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        begun.set()
        go_on.wait()

    async def run() -> None:
        storage = gateway.services.storage
        holding = asyncio.ensure_future(storage.do(hold))
        await asyncio.to_thread(begun.wait)
        note = partial(storage.note, system_cause("test", "test.wait", "req_1"), {})
        with going_ahead(ahead=True):
            for _ in range(QUEUE_MAX):
                note()
            with pytest.raises(Unavailable):
                note()
        asked = asyncio.ensure_future(goes_on(gateway.services))
        await turns()
        assert not asked.done()
        go_on.set()
        await holding
        await asked

    state.directory.settings.write_text(f"storage: {{queue_max: {QUEUE_MAX}}}\n")
    with inside(state) as gateway:
        asyncio.run(run())


def test_a_gateway_goes_on_when_its_supervisor_has_come_by(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: Nursery) -> None:
        begun.set()
        go_on.wait()

    async def run() -> None:
        await asyncio.to_thread(begun.wait)
        asked = asyncio.ensure_future(goes_on(gateway.services))
        await gateway.services.storage.beat()
        await turns()
        assert not asked.done()
        go_on.set()
        await asked

    monkeypatch.setattr("service.supervisor.supervisor.BEHIND", ())
    monkeypatch.setattr(Nursery, "adopt", hold)
    with inside(state, with_children=True) as gateway, gateway.services.supervisor:
        asyncio.run(run())


def test_children_are_not_whom_it_has_started(told: Told) -> None:
    handover = Handover(
        {BEHIND[0].name: Link(2, "gateway", BEHIND[0].name, b"", b"")},
        {**named(told, "1"), "PATH": "/bin"},
    )
    with closing(handover), handover.hand(BEHIND[0]) as handed:
        assert handed.environ.keys() & {*named(told, "1"), "PATH"} == {"PATH"}

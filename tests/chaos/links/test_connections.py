"""Who connects over a link and who goes past it, seen on real connections of real processes."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from chaos.clock import RunClock
from chaos.links.connections import Watched, connections_from, is_own, links_past
from chaos.links.watch.matching import SETTLE_S, WINDOW_S
from tests.builders.link_rig import LINK, Rig, get, rig, run, until

CLIENT = """
import socket, sys, time
kind, ports, count = sys.argv[1], [int(port) for port in sys.argv[2].split(",")], int(sys.argv[3])
request = b"GET /20 HTTP/1.1\\r\\nHost: server\\r\\nConnection: %s\\r\\n\\r\\n" % (b"keep-alive" if kind == "kept" else b"close")
kept = []
for turn in range(count):
    client = socket.create_connection(("127.0.0.1", ports[turn % len(ports)]))
    client.sendall(request)
    client.recv(4096)
    if kind == "kept":
        kept.append(client)
    else:
        while client.recv(4096):
            pass
        client.close()
print("done", flush=True)
sys.stdin.read()
"""


async def client(made: Rig, kind: str, ports: list[int], count: int) -> asyncio.subprocess.Process:
    """A process of the target that has just made its connections."""
    process = await made.spawn(
        [sys.executable, "-S", "-c", CLIENT, kind, ",".join(map(str, ports)), str(count)],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    made.named[process.pid] = "client"
    assert process.stdout is not None
    assert await process.stdout.readline() == b"done\n"
    return process


async def settled(made: Rig) -> None:
    """Everything that was seen is in the evidence."""
    await made.monitor.finish()
    made.monitor.record(made.recorder)


def test_short_connections_through_the_link_are_own_and_none_goes_past(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            await client(made, "short", [made.link_port], 50)
            assert await made.monitor.own_before_now(LINK) == 50
            await settled(made)
            assert made.bypasses() == []
            assert [row.own for row in made.connections()] == [True] * 50

    run(scenario)


@pytest.mark.parametrize("kind", ["short", "kept"])
def test_connections_past_the_link_are_seen(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            await client(made, kind, [made.server_port], 3)
            await settled(made)
            rows = made.bypasses()
            assert len(rows) == 3
            assert {row.link for row in rows} == {LINK}
            if kind == "kept":
                assert {row.process for row in rows} == {"client"}

    run(scenario)


DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-S", "-c", *sys.argv[1:]], {})
os._exit(0)
"""


def test_a_daemon_that_lost_its_mark_is_seen_past_the_link(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            process = await made.spawn(
                [sys.executable, "-S", "-c", DAEMON, CLIENT, "kept", str(made.server_port), "2"],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdin is not None and process.stdout is not None
            assert await process.stdout.readline() == b"done\n"
            await settled(made)
            assert len(made.bypasses()) == 2
            # It ends when nobody can write to it any more, and its output with it.
            process.stdin.close()
            assert await process.stdout.read() == b""
            await process.wait()

    run(scenario)


@pytest.mark.parametrize("kind", ["short", "kept"])
def test_client_that_mixes_link_and_by_pass_is_seen(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            ports = [made.link_port] * 9 + [made.server_port]
            await client(made, kind, ports, 40)
            await settled(made)
            assert len(made.bypasses()) == 4
            assert sum(row.own for row in made.connections()) == 36

    run(scenario)


def test_by_pass_is_seen_without_a_last_look(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            await client(made, "short", [made.server_port], 1)
            await until(lambda: len(made.monitor.bypasses) == 1)

    run(scenario)


def test_by_pass_over_ipv6_is_seen(tmp_path: Path) -> None:
    begin = "import socket, sys; port = int(sys.argv[1]); "
    end = "print('done', flush=True); sys.stdin.read()"
    server = f"{begin}it = socket.create_server(('::', port), family=socket.AF_INET6); {end}"
    code = f"{begin}it = socket.create_connection(('::1', port)); {end}"

    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            made.server_port = made.ports.take()
            await made.watch()
            for argv in (server, code):
                process = await made.spawn(
                    [sys.executable, "-S", "-c", argv, str(made.server_port)],
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
                assert process.stdout is not None
                assert await process.stdout.readline() == b"done\n"
            await settled(made)
            assert [row.client.rpartition(":")[0] for row in made.bypasses()] == ["::1"]

    run(scenario)


def test_probes_and_the_harness_itself_do_not_count(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            for source in ("127.0.0.2", "127.0.0.3"):
                for port in (made.link_port, made.server_port):
                    await asyncio.gather(*(get(port, source=source) for _ in range(20)))
            assert await made.monitor.own_before_now(LINK) == 0
            await settled(made)
            assert made.bypasses() == []
            assert len(made.connections()) == 40

    run(scenario)


def test_harness_is_own_traffic_on_its_own_link_and_may_go_past_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            await made.watch(of_harness=True)
            await get(made.link_port, source="127.0.0.3")
            await get(made.link_port, source="127.0.0.2")
            await get(made.server_port)
            assert await made.monitor.own_before_now(LINK) == 1
            await settled(made)
            assert made.bypasses() == []

    run(scenario)


def test_thousands_of_closed_connections_raise_no_alarm(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            await asyncio.gather(*(client(made, "short", [made.link_port], 1000) for _ in range(3)))
            await settled(made)
            assert made.bypasses() == []
            assert len(made.connections()) == 3000
            # A client whose connection was missed among so many could cover a by-pass right after it.
            await asyncio.sleep(WINDOW_S + 2 * SETTLE_S)
            await client(made, "short", [made.server_port], 1)
            await settled(made)
            assert len(made.bypasses()) == 1

    run(scenario)


def test_restarts_of_server_and_clients_raise_no_alarm(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            for _ in range(4):
                one = await client(made, "kept", [made.link_port], 5)
                two = await client(made, "short", [made.link_port], 20)
                os.kill(one.pid, signal.SIGKILL)
                os.kill(two.pid, signal.SIGKILL)
                made.server.kill()
                await made.server.wait()
                # Accepted by Toxiproxy, which then finds no server.
                await asyncio.gather(
                    *(get(made.link_port) for _ in range(5)), return_exceptions=True
                )
                made.server = await made.serve()
            await settled(made)
            assert made.bypasses() == []
            assert len(made.connections()) == 4 * 30

    run(scenario)


def test_clients_refused_while_the_server_is_down_do_not_cover_a_by_pass(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as made:
            made.server.kill()
            await made.server.wait()
            await asyncio.gather(*(get(made.link_port) for _ in range(10)), return_exceptions=True)
            await made.serve()
            await client(made, "short", [made.server_port], 1)
            await settled(made)
            assert len(made.bypasses()) == 1

    run(scenario)


def test_own_traffic_is_told_by_source_address() -> None:
    assert is_own("127.0.0.1:1", of_harness=False)
    assert not is_own("127.0.0.2:1", of_harness=False)
    assert not is_own("127.0.0.3:1", of_harness=False)
    assert is_own("127.0.0.3:1", of_harness=True)
    assert not is_own("127.0.0.2:1", of_harness=True)


def test_by_pass_is_laid_at_the_links_of_its_process() -> None:
    links = {
        "a->s": Watched(port=1, listens=3, of_harness=False),
        "b->s": Watched(port=1, listens=3, of_harness=False),
        "client->s": Watched(port=1, listens=3, of_harness=True),
        "a->t": Watched(port=2, listens=3, of_harness=False),
    }
    assert links_past(links, 1, "a") == ["a->s"]
    assert links_past(links, 1, "c") == ["a->s", "b->s"]
    assert links_past(links, 1, None) == ["a->s", "b->s"]


def test_clients_are_read_from_the_log_of_a_stack_that_was_not_watched(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            await get(made.link_port)
            await get(made.link_port, source="127.0.0.2")
            links = {LINK: Watched(port=made.server_port, listens=made.link_port, of_harness=False)}
            found = connections_from(made.proxies.log.read_bytes() + b"{torn", links, made.clock)
            assert [(one.link, one.own) for one in found] == [(LINK, True), (LINK, False)]
            assert all(abs(one.connected_ms - made.clock.now_ms()) < 5000 for one in found)

    run(scenario)


def test_log_without_clients_has_none() -> None:
    assert connections_from(b"", {}, RunClock()) == []

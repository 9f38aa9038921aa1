"""Ports that nobody else has."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from chaos import ports
from chaos.errors import HarnessError
from chaos.ports import PortPool, candidate_ports, ephemeral_range


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Locks of their own, so that other tests do not hold what these take."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))


def test_two_pools_never_share_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    # So few that they must meet.
    monkeypatch.setattr(ports, "candidate_ports", lambda low, high: range(65_000, 65_012))
    pools = [PortPool(), PortPool()]
    taken = [pool.take() for _ in range(4) for pool in pools]
    assert len(set(taken)) == 8
    taken += [pools[0].take(tries=5_000) for _ in range(4)]
    assert sorted(taken) == list(range(65_000, 65_012))
    with pytest.raises(HarnessError, match="no free port found in 65000-65011"):
        pools[1].take()
    for pool in pools:
        pool.release()
    assert PortPool().take() in range(65_000, 65_012)


def test_a_port_is_outside_the_ephemeral_range_and_can_be_listened_on() -> None:
    pool = PortPool()
    port = pool.take()
    low, high = ephemeral_range()
    assert not low <= port <= high
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
    pool.release()


def test_a_port_that_is_listened_on_is_not_taken() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(HarnessError, match=f"port {port} is in use"):
            PortPool().take_exactly(port)
    assert PortPool().take_exactly(port) == port


@pytest.fixture
def just_used() -> int:
    """A port on which a connection has only just ended."""
    pool = PortPool()
    port = pool.take()
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        connection, _ = server.accept()
        # Who closes first is left in TIME_WAIT.
        connection.close()
        client.close()
    pool.release()
    return port


def test_a_port_that_was_just_used_is_free_again(just_used: int) -> None:
    assert PortPool().take_exactly(just_used) == just_used


def test_where_there_is_a_choice_no_port_is_given_that_was_just_used(
    just_used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who binds it without SO_REUSEADDR, as whoever reserves one does, would be refused."""
    monkeypatch.setattr(ports, "candidate_ports", lambda low, high: range(just_used, just_used + 1))
    with pytest.raises(HarnessError, match="no free port found"):
        PortPool().take()


def test_a_port_is_given_back_when_its_holder_is_killed() -> None:
    code = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from chaos.ports import PortPool\n"
        "pool = PortPool(); print(pool.take(), flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, ports.tempfile.gettempdir()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    port = int(holder.stdout.readline())
    with pytest.raises(HarnessError, match="in use, or another run has it"):
        PortPool().take_exactly(port)
    holder.kill()
    holder.wait()
    assert PortPool().take_exactly(port) == port


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (32_768, 60_999, range(10_000, 32_768)),
        (10_500, 40_000, range(40_001, 65_536)),
        (9_000, 60_999, range(61_000, 65_536)),
        (11_000, 65_535, range(10_000, 11_000)),
    ],
)
def test_where_to_look(low: int, high: int, expected: range) -> None:
    assert candidate_ports(low, high) == expected


def test_when_every_port_is_ephemeral_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ephemeral_range", lambda: (1024, 65_535))
    with pytest.raises(HarnessError, match="no free port"):
        PortPool().take()


def test_locks_that_cannot_be_made_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "file"))
    with pytest.raises(HarnessError, match=r"cannot hold a port by a file in .*: Not a directory"):
        PortPool().take()

"""A gateway that few descriptors are allowed: strangers cost it next to nothing and shut nobody out."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.running import Gateway, new_state, rows, running, until

DESCRIPTORS = 256


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = new_state(tmp_path_factory.mktemp("small") / "state")
    with running(state, descriptors=DESCRIPTORS) as gateway:
        yield gateway


def most_mb(gateway: Gateway) -> int:
    """The most memory that the gateway has had resident."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def test_silent_connections_shut_nobody_out(small: Gateway) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(400):
            held.enter_context(socket.create_connection(("127.0.0.1", small.port), 20))
        assert small.operator("GET", "/v1/sessions").status == 200
        assert small.call("GET", "/healthz").status == 200


def test_a_header_without_an_end_costs_nothing(small: Gateway) -> None:
    before = most_mb(small)
    address = ("127.0.0.1", small.port)
    with socket.create_connection(address, 20) as line, contextlib.suppress(ConnectionError):
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\na: ")
        for _ in range(100):
            line.sendall(b"a" * 1_000_000)
        pytest.fail("all of it was taken")
    assert most_mb(small) < before + 30
    assert small.call("GET", "/healthz").status == 200


def test_long_paths_are_not_kept(small: Gateway) -> None:
    assert small.call("DELETE", f"/v1/tokens/{'a' * 1900}").status == 401
    longest = "SELECT max(length(target)) FROM audit WHERE outcome = 'denied'"
    # Nobody waits for the row of a refusal.
    until(lambda: rows(small.state, longest)[0][0] is not None)
    assert rows(small.state, longest) == [(256,)]

"""Looks at processes from outside."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from chaos import sock_diag
from chaos.engine.files import merged, open_elsewhere
from chaos.engine.procfs import (
    answering,
    listening_sockets,
    sample,
    socket_inodes,
    tree_sample,
)
from chaos.sock_diag import decode_address


def test_a_process_that_lives_is_seen() -> None:
    seen = sample(os.getpid())
    assert seen is not None
    assert seen.state in "RSD"
    assert seen.rss_bytes > 1_000_000
    assert seen.descriptors > 2


def test_processor_time_is_that_of_the_process() -> None:
    before = sample(os.getpid())
    used_s = time.process_time()
    while time.process_time() < used_s + 0.1:
        pass
    after = sample(os.getpid())
    assert before is not None
    assert after is not None
    # It is told in whole ticks, which are 10 ms almost everywhere.
    assert 60 <= after.cpu_ms - before.cpu_ms < 1000
    assert abs(after.cpu_ms / 1000 - time.process_time()) < 1


def test_a_process_that_has_gone_is_not() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert sample(process.pid) is None
    assert socket_inodes(process.pid) == set()
    assert listening_sockets([process.pid]) == []
    assert tree_sample([process.pid]) is None


@pytest.fixture(params=["told", "printed"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that tells of sockets, or one that only prints them."""
    if request.param == "printed":

        def refuse() -> socket.socket:
            raise OSError

        monkeypatch.setattr(sock_diag, "open_socket", refuse)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "::ffff:127.0.0.1"),
    ],
)
def test_listening_sockets_have_their_address(family: socket.AddressFamily, address: str) -> None:
    server = listening(family, address)
    with server:
        port = server.getsockname()[1]
        assert (address, port) in own_sockets()
        with socket.create_connection((address, port)):
            assert [found for found in own_sockets() if found[1] == port] == [(address, port)]
    assert (address, port) not in own_sockets()


@pytest.mark.usefixtures("kernel")
def test_a_mapped_address_answers_what_is_sent_to_it() -> None:
    with listening(socket.AF_INET6, "::ffff:127.0.0.1") as server:
        port = server.getsockname()[1]
        assert [one.port for one in answering("127.0.0.1", port)] == [port]
        assert answering("127.0.0.2", port) == []


def listening(family: socket.AddressFamily, address: str) -> socket.socket:
    server = socket.socket(family)
    try:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((address, 0))
        server.listen()
    except OSError:
        server.close()
        pytest.skip(f"this machine has no {address}")
    return server


def own_sockets() -> list[tuple[str, int]]:
    return [(one.address, one.port) for _, one in listening_sockets([os.getpid()])]


@pytest.mark.parametrize(
    ("kernel", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),
        ("00000000000000000000000001000000", "::1"),
        ("0000000000000000FFFF00000100007F", "::ffff:127.0.0.1"),
    ],
)
def test_addresses_as_the_kernel_prints_them(kernel: str, address: str) -> None:
    assert decode_address(kernel) == address


def test_who_holds_a_file_open_is_known_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "held"
    with path.open("w") as file:
        holder = subprocess.Popen(["sleep", "60"], stdout=file, env={})
        assert open_elsewhere(path) == [holder.pid]
    try:
        assert open_elsewhere(path) == [holder.pid]
        assert open_elsewhere(path.with_name("other")) == []
    finally:
        holder.kill()
        holder.wait()


def test_configuration_is_merged_mapping_by_mapping() -> None:
    base = {"a": {"b": 1, "c": {"d": 2}}, "e": [1, 2]}
    assert merged(base, {"a": {"c": {"d": 3}, "x": {}}, "e": [3], "f": {"g": 1}}) == {
        "a": {"b": 1, "c": {"d": 3}, "x": {}},
        "e": [3],
        "f": {"g": 1},
    }
    assert base["a"] == {"b": 1, "c": {"d": 2}}
    assert merged(None, {"a": 1}) == merged({}, {"a": 1}) == {"a": 1}

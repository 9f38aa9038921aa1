"""What a process is handed: its own keys, and a port that another user cannot have."""

import os
import socket
from collections.abc import Iterator

import pytest

from service.errors import StartRefused
from service.internal.runner import bind
from service.internal.start import check_start
from service.keys import generate_link
from service.parent import is_port_reserved
from service.processes import BEHIND, PROCESSES, Listen, Process
from service.supervisor.handover import Handover, reserve
from tests.service.running import State, accepts, free_port

LINKS = {each.name: generate_link("gateway", each.name) for each in BEHIND}
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@pytest.fixture
def handover() -> Iterator[tuple[Handover, dict[str, str]]]:
    environ = {f"SONIA_{each.name.upper()}_PORT": str(free_port()) for each in BEHIND}
    handing = Handover(LINKS, environ)
    yield handing, environ
    handing.close()


@pytest.mark.parametrize("process", BEHIND, ids=lambda each: each.name)
def test_a_process_is_handed_its_own_keys_and_opens_no_file_for_them(
    process: Process, handover: tuple[Handover, dict[str, str]], state: State
) -> None:
    for path in (state.directory.keys, *state.directory.links()):
        path.unlink()
    for _ in range(2):  # as often as it is spawned
        with handover[0].hand(process) as handed:
            # As the process has it, which closes its end once it has read.
            environ = {**handed.environ, "SONIA_KEYS_PIPE": str(os.dup(handed.descriptors[1]))}
            checked = check_start(process, state.directory.root, environ)
            assert checked.link == LINKS[process.name]
            assert is_port_reserved(environ)


@pytest.mark.parametrize("descriptor", ["", "x", "-1", "999999"])
def test_a_pipe_that_is_none_is_refused(descriptor: str, state: State) -> None:
    with pytest.raises(StartRefused, match="SONIA_KEYS_PIPE names no pipe"):
        check_start(PROCESSES["memory"], state.directory.root, {"SONIA_KEYS_PIPE": descriptor})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_reserved_port_refuses_until_its_process_listens(host: str) -> None:
    listen = Listen(host, free_port())
    with reserve(listen):
        if ":" not in host:
            assert not accepts(listen.port)
        with pytest.raises(StartRefused, match="cannot listen"):
            bind(listen)
        with bind(listen, reserved=True) as bound:
            bound.listen()
            if ":" not in host:
                assert accepts(listen.port)
            # A second process of the same user would answer some of the calls.
            with pytest.raises(StartRefused, match="cannot listen"):
                bind(listen, reserved=True)


@as_root
@pytest.mark.parametrize("option", ["SO_REUSEPORT", "SO_REUSEADDR"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_another_user_cannot_bind_a_reserved_port(option: str, host: str) -> None:
    port = free_port()
    with reserve(Listen("127.0.0.1", port)):
        taken = os.fork()
        if taken == 0:
            try:
                os.setuid(NOBODY)
                code = other_binds(getattr(socket, option), host, port)
            except BaseException:  # noqa: BLE001 - the copy of this process must end here
                code = 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(taken, 0)[1]) == 1


def other_binds(option: int, host: str, port: int) -> int:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            other.bind((host, port))
        except OSError:
            return 1
        return 0


def test_where_somebody_has_the_port_it_is_not_reserved_and_later_it_is(
    handover: tuple[Handover, dict[str, str]],
) -> None:
    handing, environ = handover
    memory = PROCESSES["memory"]
    with bind(memory.listen(environ)) as other, handing.hand(memory) as handed:
        other.listen()
        assert not is_port_reserved(handed.environ)
        assert not handing.is_vacant(memory)
    assert handing.is_vacant(memory)
    with handing.hand(memory) as handed:
        assert is_port_reserved(handed.environ)
    with bind(memory.listen(environ), reserved=True) as bound:
        bound.listen()
        assert not handing.is_vacant(memory)
    assert handing.is_vacant(memory)

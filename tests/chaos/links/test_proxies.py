"""The Toxiproxy server and its control calls, against the real one."""

import asyncio
import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from chaos.errors import HarnessError
from chaos.guard import Guard
from chaos.links.proxies import (
    Toxic,
    ToxicMismatchError,
    ToxiproxyError,
    ToxiproxyGoneError,
    ToxiproxyPortError,
    ToxiproxyServer,
    Traffic,
    traffic_from,
)
from chaos.ports import PortPool
from tests.builders.link_rig import HOST, LINK, Rig, freeze, get, request, rig, run, toxiproxy


def latency(name: str = "slow", **attributes: int) -> Toxic:
    return Toxic(name=name, type="latency", stream="downstream", attributes=attributes)


async def start(made: Rig, port: int, log: str, binary: Path | None = None) -> ToxiproxyServer:
    return await ToxiproxyServer.start(
        binary or toxiproxy(), port=port, log=made.directory / log, spawn=made.spawn
    )


def test_link_carries_bytes_and_counts_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            answer = await get(made.link_port, "/1000")
            traffic = {}
            for _ in range(500):
                traffic = await made.proxies.traffic()
                if LINK in traffic and traffic[LINK].received_bytes and traffic[LINK].sent_bytes:
                    break
                await asyncio.sleep(0.01)
            assert traffic[LINK].received_bytes == len(answer)
            assert traffic[LINK].sent_bytes == len(request("/1000", "close"))

    run(scenario)


def test_traffic_is_read_from_the_metrics() -> None:
    labels = 'direction="{}",listener="127.0.0.1:1",proxy="a->b",upstream="127.0.0.1:2"'
    lines = [
        "# TYPE toxiproxy_proxy_received_bytes_total counter",
        f"toxiproxy_proxy_received_bytes_total{{{labels.format('upstream')}}} 98",
        f"toxiproxy_proxy_received_bytes_total{{{labels.format('downstream')}}} 2114",
        f"toxiproxy_proxy_sent_bytes_total{{{labels.format('downstream')}}} 1.2e+06",
        f"toxiproxy_proxy_sent_bytes_total{{{labels.format('upstream')}}} 97",
    ]
    assert traffic_from("\n".join(lines)) == {
        "a->b": Traffic(sent_bytes=98, received_bytes=1_200_000)
    }
    assert traffic_from("") == {}


def test_log_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            await get(made.link_port)
            assert b"Accepted client" in made.proxies.log.read_bytes()

    run(scenario)


def test_second_server_on_the_same_port_is_noticed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            with pytest.raises(ToxiproxyPortError, match=f"port {made.proxies.port}"):
                await start(made, made.proxies.port, "second.log")
            assert b"x" in await get(made.link_port)

    run(scenario)


def test_server_of_somebody_else_is_not_taken_for_ours(tmp_path: Path) -> None:
    """A server that logs nothing of what it is asked is not the one whose log we read."""
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(silent.stat().st_mode | stat.S_IEXEC)

    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            with pytest.raises(ToxiproxyPortError, match="another Toxiproxy answers"):
                await start(made, made.proxies.port, "second.log", silent)

    run(scenario)


def test_port_of_something_else_is_noticed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            with pytest.raises(ToxiproxyPortError, match="something else listens there"):
                await start(made, made.server_port, "second.log")

    run(scenario)


@pytest.mark.parametrize("content", [None, "#!/bin/sh\necho broken\nexit 3\n"])
def test_binary_that_does_not_run_says_so(tmp_path: Path, content: str | None) -> None:
    binary = tmp_path / "binary"
    if content is not None:
        binary.write_text(content)
        binary.chmod(0o755)

    async def scenario() -> None:
        guard, ports = Guard(), PortPool()
        try:
            with pytest.raises(
                ToxiproxyGoneError, match=r"ended with (127|3).*(No such file|broken)"
            ):
                await ToxiproxyServer.start(
                    binary, port=ports.take(), log=tmp_path / "log", spawn=guard.spawn
                )
        finally:
            guard.close()
            ports.release()

    run(scenario)


def test_listen_port_in_use_says_what_to_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            with pytest.raises(ToxiproxyPortError, match="stop what listens there"):
                await made.proxies.add("other", (HOST, 1), made.server_port)
            assert made.proxies.problem is None

    run(scenario)


def test_restoring_onto_a_port_that_was_taken_meanwhile_is_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            await made.proxies.cut(LINK)
            taken = socket.create_server((HOST, made.link_port))
            with taken, pytest.raises(ToxiproxyPortError):
                await made.proxies.restore(LINK)

    run(scenario)


def test_misspelt_attribute_is_a_mismatch_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            with pytest.raises(ToxicMismatchError, match="no attribute 'latncy'"):
                await made.proxies.add_toxic(LINK, latency(latncy=500))
            # The name is free again.
            await made.proxies.add_toxic(LINK, latency(latency=1))

    run(scenario)


def test_unknown_names_and_types_are_errors(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            toxic = latency(latency=1)
            with pytest.raises(ToxiproxyError, match="proxy not found"):
                await made.proxies.add_toxic("nobody", toxic)
            with pytest.raises(ToxiproxyError, match="toxic not found"):
                await made.proxies.remove_toxic(LINK, "nothing")
            with pytest.raises(ToxiproxyError, match="invalid toxic type"):
                await made.proxies.add_toxic(
                    LINK, Toxic(name="x", type="nonsense", stream="upstream", attributes={})
                )
            await made.proxies.add_toxic(LINK, toxic)
            with pytest.raises(ToxiproxyError, match="already exists"):
                await made.proxies.add_toxic(LINK, toxic)

    run(scenario)


def test_two_servers_do_not_share_an_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            other = await start(made, made.ports.take(), "other.log")
            try:
                await other.add(LINK, (HOST, made.server_port), made.ports.take())
                await asyncio.gather(made.proxies.cut(LINK), other.cut(LINK))
                await other.restore(LINK)
                with pytest.raises(ConnectionRefusedError):
                    await get(made.link_port)
            finally:
                await other.stop()

    run(scenario)


def test_proxy_of_the_environment_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            await made.proxies.cut(LINK)

    run(scenario)


def test_log_level_of_the_environment_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "error")

    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            assert b"Started proxy" in made.proxies.log.read_bytes()

    run(scenario)


def test_hung_server_is_killed_and_says_so_ever_after(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            made.proxies._within_s = 0.3
            await freeze(made.proxies.pid)
            with pytest.raises(ToxiproxyGoneError, match="and was killed"):
                await made.proxies.cut(LINK)
            with pytest.raises(ToxiproxyGoneError, match=r"cannot restore .* and was killed"):
                await made.proxies.restore(LINK)
            with pytest.raises(ConnectionRefusedError):
                await get(made.link_port)

    run(scenario)


def test_death_is_noticed_without_asking(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            os.kill(made.proxies.pid, signal.SIGKILL)
            await asyncio.wait({made.proxies._watch}, timeout=10)
            assert "ended with -9" in (made.proxies.problem or "")
            with pytest.raises(ToxiproxyGoneError, match="ended with -9"):
                await made.proxies.cut(LINK)

    run(scenario)


def test_death_is_told_from_silence(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            os.kill(made.proxies.pid, signal.SIGKILL)
            with pytest.raises(ToxiproxyGoneError, match="ended with -9"):
                await made.proxies.cut(LINK)

    run(scenario)


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            await made.proxies.stop()
            await made.proxies.stop()
            assert made.proxies.problem == "Toxiproxy was stopped"

    run(scenario)


def test_errors_are_the_harness_s_own() -> None:
    for error in (ToxiproxyPortError, ToxicMismatchError, ToxiproxyGoneError):
        assert issubclass(error, ToxiproxyError)
    assert issubclass(ToxiproxyError, HarnessError)

"""What is recorded of a target's links."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from chaos.evidence.schema import Link
from chaos.links.proxies import Traffic
from chaos.links.stack_links import Links
from chaos.spec.target import Target
from tests.builders.link_rig import HOST, LINK, Rig, request, rig, run, toxiproxy

TARGET = {
    "target": "one",
    "source": ["."],
    "processes": {"server": {"run": "server", "port": 8000}},
    "links": {LINK: {"to": "server", "probe": {"get": "/"}}},
}


def test_a_connection_that_ends_late_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, watched=False) as made:
            links = Links(msgspec.convert(TARGET, Target), tmp_path / "links.log")
            links.ports[LINK] = made.ports.take()
            await links.start(
                toxiproxy(),
                api_port=made.ports.take(),
                spawn=made.spawn,
                host=HOST,
                server_ports={"server": made.server_port},
            )
            await links.start_probing(
                spawn=made.spawn,
                clock=made.clock,
                marker=made.guard.marker,
                guard=made.guard.marker,
                processes=dict,
            )
            try:
                await recorded(links, made)
            finally:
                await links.stop()
            [row] = made.rows(Link, "links")
            assert row.own_connections == 1
            assert row.sent_bytes > 0 and row.received_bytes > 20

    async def recorded(links: Links, made: Rig) -> None:
        """Record while a client still holds its connection, which it ends only when the bytes have been asked for."""
        read, asked = links.proxies.traffic, asyncio.Event()

        async def traffic() -> dict[str, Traffic]:
            found = await read()
            asked.set()
            return found

        monkeypatch.setattr(links.proxies, "traffic", traffic)
        reader, writer = await asyncio.open_connection(HOST, links.ports[LINK])
        writer.write(request("/20", "keep-alive"))
        await reader.readuntil(b"x" * 20)
        recording = asyncio.create_task(links.record_traffic(made.recorder))
        await asked.wait()
        writer.close()
        await recording

    run(scenario)

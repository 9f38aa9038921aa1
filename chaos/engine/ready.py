"""Whether a process of the target answers on its port, and whether it is that process which answers."""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from chaos.engine.procfs import (
    Listener,
    answering,
    command_of,
    holders,
    listeners,
    listening_sockets,
    open_files,
    socket_inodes,
    unix_sockets,
)
from chaos.http import build_request, send_once

PROBE_SOURCE: Final = "127.0.0.2"


async def unready(ready: str, host: str, port: int) -> str | None:
    """One look at a port, as `ready` of a process says: None when it is as it should be, else what was seen."""
    if ready == "tcp":
        return (
            None if await accepts(host, port) else f"nothing accepts connections on {host}:{port}"
        )
    path = ready.removeprefix("GET ").strip()
    request = build_request("GET", path, f"{host}:{port}", [("Connection", "close")])
    answer = await send_once(host, port, request, source=PROBE_SOURCE, timeout_s=1.0)
    if answer.status is None:
        return f"GET {path} was not answered: {answer.error}"
    return None if 200 <= answer.status < 300 else f"GET {path} was answered with {answer.status}"


def listens(pid: int, host: str, port: int) -> bool:
    """Whether it is this very process that answers on a port, and nobody else could."""
    sockets = answering(host, port)
    return bool(sockets) and {one.inode for one in sockets} <= socket_inodes(pid)


def strangers(pids: Iterable[int], host: str, port: int) -> list[Listener]:
    """The sockets of others than these processes that may answer on a port; none where nobody listens."""
    own = {inode for pid in pids for inode in socket_inodes(pid)}
    return [one for one in answering(host, port) if one.inode not in own]


def described(sockets: Iterable[Listener]) -> str:
    """Who holds sockets, as people know them."""
    found = [f"process {pid} ({command_of(pid)})" for pid in holders(sockets)]
    return " and ".join(found) or "somebody whose descriptors cannot be looked at"


def elsewhere(pids: Iterable[int]) -> str:
    """Where processes listen; empty when nowhere."""
    pids = list(pids)
    places = {str(one) for _, one in listening_sockets(pids)} | unix_sockets(pids)
    return ", ".join(sorted(places))


def holding(pids: Iterable[int], port: int, log: Path | None) -> list[int]:
    """Those that have lost every other sign of whose they are and yet hold a port, or an output."""
    signs = {f"socket:[{one.inode}]" for one in listeners() if one.port == port}
    signs |= {str(log)} if log is not None else set()
    return [pid for pid in pids if signs & open_files(pid)]


def still_listening(ports: Mapping[str, int]) -> list[tuple[str, Listener, int]]:
    """The sockets on ports of processes, by their names, with who holds each, 0 where that cannot be told."""
    names = {port: name for name, port in ports.items()}
    there = [one for one in listeners() if one.port in names]
    return [(names[one.port], one, pid) for one in there for pid in holders([one]) or [0]]


async def accepts(host: str, port: int) -> bool:
    """Whether a TCP connection is accepted right now."""
    with socket.socket() as own:
        own.setblocking(False)
        own.bind((PROBE_SOURCE, 0))
        try:
            async with asyncio.timeout(1.0):
                await asyncio.get_running_loop().sock_connect(own, (host, port))
        except OSError:
            return False
    return True

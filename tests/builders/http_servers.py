"""Servers that answer with exactly the bytes, closes and silences that a test wrote down."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

Action = bytes | Literal["close", "reset", "silence"]
Script = Callable[[bytes, int], list[Action]]
"""From a request and its number (from 0) to what the server does about it."""

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'


class Scripted:
    """What a scripted server has seen."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self.clients: list[str] = []


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Scripted]:
    """Serve `script` on a free port of 127.0.0.1."""
    seen = Scripted()
    open_writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.clients.append(writer.get_extra_info("peername")[0])
        open_writers.add(writer)
        try:
            while await _answer(reader, writer, script, seen):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=2048)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for writer in open_writers:
            writer.transport.abort()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, script: Script, seen: Scripted
) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    number = len(seen.requests)
    seen.requests.append(head + body)
    for action in script(head + body, number):
        if action == "close":
            return False
        if action == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        if action == "silence":
            await reader.read()
            return False
        writer.write(action)
        await writer.drain()
    return True


def closed_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

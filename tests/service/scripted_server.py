"""A server whose every connection follows a script, for clients that must survive bad ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ScriptedServer:
    """Counts connections and requests; `script` may be exchanged while it runs."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.requests: list[bytes] = []
        self.connected = asyncio.Event()
        self.asked = asyncio.Event()
        self._left = asyncio.Event()
        self.url = ""
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Refuse new connections and end the established ones, as a cut link does."""
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def left_with(self, count: int) -> None:
        """Return when so many connections are open."""
        while len(self._open) != count:
            self._left.clear()
            await self._left.wait()

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().splitlines():
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        self.asked.set()
        return request

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.connected.set()
        self._open.add(writer)
        try:
            await self.script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            self._left.set()
            writer.transport.abort()


def answer_bytes(body: bytes = b"{}", status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


class Scripts:
    """Scripts that tests combine with a server."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server

    def answering(self, body: bytes = b"{}", status: int = 200) -> Script:
        """Answer every request of a connection."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await self._server.read_request(reader)
                writer.write(answer_bytes(body, status))

        return script

    def silent(self) -> Script:
        """Accept, read, and never answer, as a black hole does."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65536):
                pass

        return script

    def raw(self, content: bytes) -> Script:
        """Answer one request with `content` and close."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._server.read_request(reader)
            writer.write(content)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        return script


@asynccontextmanager
async def scripted_server() -> AsyncIterator[tuple[ScriptedServer, Scripts]]:
    """Serve on a free port, and at first close every connection at once."""

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Close at once."""

    server = ScriptedServer(nothing)
    await server.start()
    try:
        yield server, Scripts(server)
    finally:
        await server.stop()

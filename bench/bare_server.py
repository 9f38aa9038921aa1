"""A server of canned bytes: as little as a server can do, so that its clients are what is measured.

It answers every head of a request without a body; nothing is parsed but the empty line at its end.
"""

import asyncio
import sys
from typing import cast

import uvloop

BODY = b'{"status":"ok","degraded":false,"items":[1,2,3]}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    + BODY
)
END_OF_HEAD = b"\r\n\r\n"


class Canned(asyncio.Protocol):
    """One connection, which may carry any number of requests, pipelined ones too."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are none by class.
        self._transport = cast(asyncio.Transport, transport)
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Answer each complete head."""
        if self._rest:
            data = self._rest + data
        heads = data.count(END_OF_HEAD)
        self._rest = b"" if data.endswith(END_OF_HEAD) else data.rpartition(END_OF_HEAD)[2]
        if heads:
            self._transport.write(ANSWER if heads == 1 else ANSWER * heads)


async def serve(port: int) -> None:
    """Listen on `port` until the process is ended; on 0, print the free one and serve until input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Canned, "127.0.0.1", port, backlog=2048)
    gone = asyncio.Event()
    if not port:
        print(server.sockets[0].getsockname()[1], flush=True)
        loop.add_reader(0, gone.set)
    await gone.wait()
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))

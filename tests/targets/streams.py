"""A WebSocket server for tests of the harness, on 127.0.0.1:$PORT.

Without `Authorization: Bearer good` it refuses with 401, `/away` it sends elsewhere on itself, and what it switches to at `/untrue` is
no WebSocket. It echoes; `bye` makes it close with 4401.
"""

import asyncio
import os
from collections.abc import Sequence
from http import HTTPStatus

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.typing import Subprotocol


def check(connection: ServerConnection, request: Request) -> Response | None:
    """Refuse whoever has no good token."""
    if request.path == "/away":
        answer = connection.respond(HTTPStatus.FOUND, "over there\n")
        answer.headers["Location"] = "/any"
        return answer
    if request.path == "/untrue":
        return Response(
            101, "Switching Protocols", Headers(Upgrade="websocket", Connection="Upgrade")
        )
    if request.headers.get("Authorization") != "Bearer good-token":
        return connection.respond(HTTPStatus.UNAUTHORIZED, "who are you?\n")
    return None


def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The second version where it is offered."""
    return next((name for name in offered if name == "trivial.v2"), None)


async def converse(socket: ServerConnection) -> None:
    """Tell which subprotocol was chosen, then echo."""
    await socket.send(f'{{"subprotocol": "{socket.subprotocol}"}}')
    async for message in socket:
        if message == "bye":
            await socket.close(4401, "token expired")
            return
        await socket.send(message)


async def main() -> None:
    """Serve until ended."""
    port = int(os.environ["PORT"])
    async with serve(
        converse, "127.0.0.1", port, process_request=check, select_subprotocol=choose
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

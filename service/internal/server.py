"""uvicorn's server, which takes in all that waits at its port and not one connection for each turn of the event loop.

libuv accepts one a turn (1.45 and later). In a storm a turn is long, so whoever came last, and asks whether the process lives,
would wait until most of those before are answered; and admission would see only what had been let in one by one.
"""

import asyncio
import contextlib
import socket
from typing import Final

import uvicorn

from service.http.connections import room_for_callers

MOST_A_TURN: Final = 128
HANDSHAKE_S: Final = 10.0
_OF_THE_ROOM: Final = 8
"""What comes beyond the room for callers is turned away a turn later; until then it holds descriptors that are not for callers."""


class Server(uvicorn.Server):
    """Accepts up to MOST_A_TURN connections a turn, fewer where there is little room, at each socket that it is run with."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._doors: list[socket.socket] = []
        self._coming: set[asyncio.Task[object]] = set()
        self._most_a_turn = min(MOST_A_TURN, room_for_callers() // _OF_THE_ROOM)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as uvicorn does, and beside it at a copy of each socket."""
        await super().startup(sockets)
        for each in sockets or []:
            door = each.dup()
            self._doors.append(door)
            asyncio.get_running_loop().add_reader(door.fileno(), self._take_in, door)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take in nobody any more, and end as uvicorn does."""
        for door in self._doors:
            asyncio.get_running_loop().remove_reader(door.fileno())
            door.close()
        # Those that were taken in are asked to end as all others are.
        await asyncio.gather(*self._coming, return_exceptions=True)
        await super().shutdown(sockets)

    def _take_in(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # Where no descriptor is left, libuv turns away one a turn.
        with contextlib.suppress(OSError):
            for _ in range(self._most_a_turn):
                came, _ = door.accept()
                came.setblocking(False)
                task = loop.create_task(self._talk(came))
                self._coming.add(task)
                task.add_done_callback(self._coming.discard)

    async def _talk(self, came: socket.socket) -> None:
        tls = self.config.ssl
        within_s = None if tls is None else HANDSHAKE_S
        # Whoever does not speak TLS where it is spoken has hung up by that, and is nobody to tell.
        with contextlib.suppress(OSError):
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(
                self._protocol, came, ssl=tls, ssl_handshake_timeout=within_s
            )

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

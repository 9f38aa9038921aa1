"""Serve one application in the foreground: uvicorn on uvloop, HTTP within bounds, one worker."""

import errno
import logging
import os
import socket
import ssl
import sys

import uvicorn
from litestar.types import ASGIApp

from service.collector import end_start
from service.errors import StartRefused
from service.http.connections import open_more_files
from service.http.transport import Limits, bounded
from service.internal.heap import give_back_large
from service.internal.server import Server
from service.internal.start import Checked
from service.notify import NOBODY, ServiceManager
from service.parent import is_port_reserved
from service.processes import Listen

BACKLOG = 2048
KEEP_ALIVE_S = 75
DRAIN_S = 10


def serve(app: ASGIApp, checked: Checked) -> None:
    """Bind and serve. Call it after every start-up check has passed. Raises StartRefused."""
    serve_on(app, bind(checked.listen, reserved=is_port_reserved(checked.environ)))


def bind(listen: Listen, *, reserved: bool = False) -> socket.socket:
    """Take the address without listening on it. Raises StartRefused when it cannot be taken.

    A `reserved` one is shared with whoever holds it and does not listen.
    """
    if listen.in_place_of:
        sys.stderr.write(
            f"{listen.in_place_of!r} is no address of this machine: listening on {listen.host}\n"
        )
    bound = socket.socket(listen.family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reserved:
            # Two processes of one user could share a port, and each would answer some of the calls.
            if listen.is_taken():
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((listen.host, listen.port))
    except OSError as error:
        bound.close()
        raise StartRefused(
            f"cannot listen on {listen.host}:{listen.port}: {error.strerror}",
            "end what has the port, or set another in SONIA_<PROCESS>_PORT",
        ) from error
    return bound


def serve_on(
    app: ASGIApp,
    bound: socket.socket,
    max_frame_bytes: int = 0,
    manager: ServiceManager = NOBODY,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Start up, listen, serve until SIGTERM or SIGINT, drain for at most DRAIN_S seconds, return.

    This is where the port opens, of which `manager` is told. With `max_frame_bytes` the application is offered WebSockets, whose
    frames are at most so long. With `tls` nothing else is spoken.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    open_more_files()
    http, sockets = bounded(Limits())
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=http,
        ws=sockets if max_frame_bytes else "none",
        ws_max_size=max_frame_bytes,
        # What comes in at one go is unpacked at one go: a thousand times as much, before anybody could stop reading.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        # What uvicorn warns of is what callers send, as often as they send it.
        log_level="error",
        access_log=False,
        backlog=BACKLOG,
        # Longer than the gateway keeps an idle connection, so that never the server ends one in use.
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        server_header=False,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    give_back_large()
    end_start()
    _Told(config, manager).run(sockets=[bound])


class _Told(Server):
    """A server whose service manager is told when it listens, and when it ends."""

    def __init__(self, config: uvicorn.Config, manager: ServiceManager) -> None:
        super().__init__(config)
        self._manager = manager

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self._manager.serving()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain and end."""
        await self._manager.ending()
        await super().shutdown(sockets)

"""Serve one application in the foreground: uvicorn on uvloop and httptools, one worker."""

import logging
import socket

import uvicorn
from litestar.types import ASGIApp

from service.errors import StartRefused
from service.settings import Listen

BACKLOG = 2048
KEEP_ALIVE_S = 75
DRAIN_S = 10


def serve(app: ASGIApp, listen: Listen) -> None:
    """Bind, start up, listen, serve until SIGTERM or SIGINT, drain for at most DRAIN_S seconds, return.

    Call it after every start-up check has passed: this is where the port opens. Raises StartRefused when it
    cannot be bound.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    bound = _bind(listen)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        # Longer than the gateway keeps an idle connection, so that never the server ends one in use.
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[bound])


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((listen.host, listen.port))
    except OSError as error:
        bound.close()
        raise StartRefused(
            f"cannot listen on {listen.host}:{listen.port}: {error.strerror}"
        ) from error
    bound.set_inheritable(True)
    return bound

"""Serving the gateway: checks, then the application, then, last of all, the port."""

import logging
import socket
from collections.abc import Mapping
from contextlib import nullcontext

import uvicorn
from litestar.types import ASGIApp

from service.control import open_control
from service.errors import StartRefused
from service.gateway.app import create_app
from service.gateway.boot import boot
from service.gateway.children import Children
from service.ids import random_id
from service.settings import Listen, listen_address
from service.state import StateDir

BACKLOG = 2048
KEEP_ALIVE_S = 75
DRAIN_S = 10
MAX_FRAME_BYTES = 1 << 20


def run_gateway(state: StateDir, environ: Mapping[str, str], with_children: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, on request with the other processes as children.

    Raises StartRefused, in which case no port was opened.
    """
    listen = listen_address("gateway", environ)
    lock = state.lock()
    control = open_control(state)
    try:
        app = create_app(boot(control, listen, environ, random_id))
        bound = _bind(listen)
        with Children(state, environ) if with_children else nullcontext():
            _serve(app, bound)
    finally:
        control.close()
        state.unlock(lock)


def _serve(app: ASGIApp, bound: socket.socket) -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        server_header=False,
    )
    # Bound before, so that a port in use is a refusal; it listens only after the lifespan began.
    uvicorn.Server(config).run(sockets=[bound])


def _bind(listen: Listen) -> socket.socket:
    bound = socket.socket(
        socket.AF_INET6 if ":" in listen.host else socket.AF_INET, socket.SOCK_STREAM
    )
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((listen.host, listen.port))
    except OSError as wrong:
        bound.close()
        raise StartRefused(
            f"cannot listen on {listen.host}:{listen.port}: {wrong.strerror}"
        ) from wrong
    return bound

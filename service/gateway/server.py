"""Serving the gateway: checks, then the application, then, last of all, the port."""

import logging
import socket
from collections.abc import Mapping

import uvicorn

from service.control import Control, open_control
from service.errors import StartRefused
from service.gateway.app import create_app
from service.gateway.boot import boot
from service.ids import random_id
from service.settings import Listen, listen_address
from service.state import StateDir

BACKLOG = 2048
KEEP_ALIVE_S = 75
DRAIN_S = 10
MAX_FRAME_BYTES = 1 << 20


def run_gateway(state: StateDir, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartRefused, in which case no port was opened."""
    listen = listen_address("gateway", environ)
    lock = state.lock()
    control = open_control(state)
    try:
        _serve(control, listen)
    finally:
        control.close()
        state.unlock(lock)


def _serve(control: Control, listen: Listen) -> None:
    app = create_app(boot(control, listen, random_id))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    config = uvicorn.Config(
        app,  # type: ignore[arg-type] - Litestar and uvicorn spell the same ASGI types differently
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
    # Bound here, so that a port in use is a refusal; uvicorn listens on it after the lifespan began.
    uvicorn.Server(config).run(sockets=[_bind(listen)])


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

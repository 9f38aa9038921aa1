"""The same route twice: behind the gateway's authentication and role check, and without either.

`python -m bench.guarded_server gated|plain` serves one of the two as the gateway is served, prints the port
and an operator's token, and ends with its input.
"""

import asyncio
import socket
import sys
import tempfile
from pathlib import Path
from typing import Literal

import msgspec
import uvicorn
import uvloop
from litestar import get
from litestar.types import ASGIApp

from service.auth.roles import Role
from service.cli.init import create_state
from service.control import Control, open_control
from service.gateway.app import assemble, create_litestar
from service.gateway.boot import boot
from service.http.doorway import Doorway
from service.http.guards import PUBLIC, require_role
from service.http.transport import Limits, bounded
from service.ids import random_id
from service.processes import Listen
from service.state import StateDir

Which = Literal["gated", "plain"]


class Reply(msgspec.Struct, frozen=True):
    """A small answer, so that the gate's share of a request is as large as it can be."""

    status: str
    version: str


async def answer() -> Reply:
    """Answer at once."""
    return Reply("ok", "4.6.0")


def build(directory: Path) -> tuple[dict[Which, ASGIApp], Control, str]:
    """(both applications, what they run on, an operator's token) in a fresh state directory."""
    state = StateDir(directory / "state")
    token = create_state(state, force=False).operator
    control = open_control(state)
    services = boot(control, Listen("127.0.0.1", 0), {}, random_id)
    gated = create_litestar(services, [get("/bench", guards=[require_role(Role.OPERATOR)])(answer)])
    plain = assemble([get("/bench", opt=PUBLIC)(answer)])
    apps: dict[Which, ASGIApp] = {
        "gated": Doorway(gated, random_id, services.metrics, services.traces),
        "plain": Doorway(plain, random_id, services.metrics, services.traces),
    }
    return apps, control, token


async def serve(app: ASGIApp, token: str) -> None:
    """Serve on a free port until standard input ends."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=bounded(Limits())[0],
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    asyncio.get_running_loop().add_reader(0, stop)
    print(bound.getsockname()[1], token, flush=True)
    await server.serve(sockets=[bound])


def main(which: Which) -> None:
    """Build both and serve one."""
    with tempfile.TemporaryDirectory(prefix="bench-service-") as directory:
        apps, control, token = build(Path(directory))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve(apps[which], token))
        finally:
            control.close()


if __name__ == "__main__":
    main("gated" if sys.argv[1:] == ["gated"] else "plain")

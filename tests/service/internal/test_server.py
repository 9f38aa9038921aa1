"""Connections that wait at the port."""

import asyncio
import contextlib
import socket

import uvicorn
import uvloop
from litestar.types import Receive, Scope, Send

from service.internal.server import Server

CALLERS = 300
TURNS = 20
"""A few for each turn in which some are taken in; one for each caller would be three hundred."""


async def nobody(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Answer nothing."""


async def turns_until_all_are_in() -> int:
    """How many turns of the event loop it takes until all that waited are connections of the server."""
    config = uvicorn.Config(nobody, lifespan="off", log_config=None, log_level="critical")
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.socket() as bound, contextlib.ExitStack() as callers:
        bound.bind(("127.0.0.1", 0))
        await server.startup([bound])
        # The loop stands still meanwhile, as it does while a long turn lasts.
        for _ in range(CALLERS):
            callers.enter_context(socket.create_connection(bound.getsockname()))
        turns = 0
        while len(server.server_state.connections) < CALLERS and turns <= TURNS:
            turns += 1
            await asyncio.sleep(0)
        # What came too late for this is not waited for.
        server.force_exit = True
        await server.shutdown([bound])
        return turns


def test_all_that_waits_is_taken_in_within_a_few_turns() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns_until_all_are_in()) <= TURNS

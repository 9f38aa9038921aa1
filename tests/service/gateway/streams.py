"""Streams, opened and read as a client does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.service.running import Gateway


@contextmanager
def opened(gateway: Gateway, token: str | None) -> Iterator[ClientConnection]:
    offered = [Subprotocol("sonia.v1")]
    if token is not None:
        offered.append(Subprotocol(f"sonia.bearer.{token}"))
    url = f"ws://127.0.0.1:{gateway.port}/v1/stream"
    with connect(url, subprotocols=offered, open_timeout=20) as stream:
        yield stream


def exchange(stream: ClientConnection, frame: object) -> Any:
    stream.send(frame if isinstance(frame, str) else json.dumps(frame))
    return json.loads(stream.recv(20))


def closing_of(stream: ClientConnection) -> int:
    """Read until the stream is closed, sending nothing, and return the code."""

    def drain() -> None:
        while True:
            stream.recv(20)

    with pytest.raises(ConnectionClosed) as caught:
        drain()
    assert caught.value.rcvd is not None
    return int(caught.value.rcvd.code)

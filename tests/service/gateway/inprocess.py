"""The gateway's application in this process, asked without a server, so that a test can break what it rests on."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from service.control import Control, open_control
from service.domain.call import Services
from service.gateway.app import create_app
from service.gateway.boot import boot
from service.ids import random_id
from service.processes import GATEWAY
from tests.service.running import Answer, State, environment


class Inside(msgspec.Struct, frozen=True):
    """An application over an opened state directory; `fatal` is what would have ended its process."""

    control: Control
    services: Services
    app: Any
    state: State
    fatal: list[str]

    async def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """One request of the operator."""
        named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        sent = {
            "authorization": f"Bearer {self.state.operator}",
            "content-type": "application/json",
            **named,
        }
        return await ask(
            self.app, "POST", path, sent, b"" if body is None else json.dumps(body).encode()
        )


@contextmanager
def inside(state: State, with_children: bool = False) -> Iterator[Inside]:
    """Open `state` and build its application; nothing runs beside the requests."""
    fatal: list[str] = []
    control = open_control(state.directory, fatal.append)
    try:
        listen = GATEWAY.listen({})
        services = boot(control, listen, environment(0), random_id, with_children)
        yield Inside(control, services, create_app(services, listen), state, fatal)
    finally:
        control.close()


async def ask(app: Any, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """One exchange over ASGI."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1"),
            *((k.encode(), v.encode()) for k, v in headers.items()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7000),
        "state": {},
    }
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], found, b"".join(each.get("body", b"") for each in sent[1:]))

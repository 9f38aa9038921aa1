"""The step of every fault: opens its window and, where it has a `for`, sees to its end."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Final

import msgspec

from chaos.engine.lives import HOST
from chaos.engine.scope import Endpoint, Scope
from chaos.engine.wire import prepare
from chaos.errors import HarnessError
from chaos.faults import SIGNATURES
from chaos.faults.base import FaultStep
from chaos.faults.window import FaultWindow, Instruments, Wire
from chaos.links.probe import Paths
from chaos.spec.target import Probe

HANDSHAKE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "c29uaWEgcHJvYmVzIGl0Lg==",
}
"""What makes a request a WebSocket's (RFC 6455, section 4.1); the key is any sixteen bytes."""


async def run_fault(step: FaultStep, scope: Scope) -> None:
    """Return when the fault is on and proven; HarnessError, with the fault still on, when it is not.

    A `for` counts from then. The window stays known under the fault's name until it is cleared.
    """
    name = scope.step_name(step)
    windows = scope.run.windows
    earlier = windows.get(name)
    if isinstance(earlier, FaultWindow) and not earlier.closed:
        raise HarnessError(f"the fault {name!r} is on already: clear it before it is put on again")
    window = _window(step, name, scope)
    windows[name] = window
    why = await window.open()
    if step.for_ is not None:
        background = scope.run.background
        task = asyncio.create_task(_end_later(window, step.for_.s))
        background.add(task)
        task.add_done_callback(background.discard)
    if why is not None:
        raise HarnessError(f"the fault {name!r} was not proven: {why}")


async def _end_later(window: FaultWindow, after_s: float) -> None:
    await asyncio.sleep(after_s)
    await window.close()


def _window(step: FaultStep, name: str, scope: Scope) -> FaultWindow:
    stack = scope.stack
    link = stack.target.links[step.link]
    wire = Wire() if link.probe is None else _wire(link.probe, step.link, scope)
    return FaultWindow(
        step,
        SIGNATURES[step.kind],
        name,
        Paths(link=(HOST, stack.link_port(step.link)), direct=(HOST, stack.port(link.to))),
        wire,
        Instruments(
            proxies=stack.proxies,
            prober=stack.prober,
            connections=stack.connections,
            recorder=scope.recorder,
            clock=scope.clock,
            mode=scope.mode,
        ),
    )


def _wire(probe: Probe, link: str, scope: Scope) -> Wire:
    """What the probe sends, with its variables and its actor's credentials filled in."""
    if probe.tls is not None:
        hello = client_hello(scope.variables.text(probe.tls))
        return Wire(close=hello, keep_alive=hello, protocol="tls")
    if probe.tcp is not None and probe.answer is not None:
        sent, ends = (_as_bytes(scope.variables.text(text)) for text in (probe.tcp, probe.answer))
        return Wire(close=sent, keep_alive=sent, protocol="tcp", ends=ends)
    if probe.websocket is not None:
        request = _request(probe, HANDSHAKE, link, scope)
        return Wire(close=request, keep_alive=request, protocol="websocket")
    return Wire(
        close=_request(probe, {"Connection": "close"}, link, scope),
        keep_alive=_request(probe, {"Connection": "keep-alive"}, link, scope),
        head=probe.target()[0].upper() == "HEAD",
    )


def _request(probe: Probe, headers: Mapping[str, str], link: str, scope: Scope) -> bytes:
    process = scope.stack.target.links[link].to
    endpoint = Endpoint(HOST, scope.stack.port(process), process, None)
    send = msgspec.structs.replace(probe, headers={**(probe.headers or {}), **headers})
    return prepare(send, scope, scope.sender(probe.as_), endpoint)[2]


def _as_bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise HarnessError(
            f"every character of a probe over TCP is a byte, which {text!r} does not fit"
        ) from error


def client_hello(server_name: str) -> bytes:
    """With what a handshake of TLS begins."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server_name or None).do_handshake()
    return sent.read()

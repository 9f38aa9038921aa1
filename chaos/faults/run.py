"""The step of every fault: opens its window and, where it has a `for`, sees to its end."""

import asyncio

import msgspec

from chaos.engine.lives import HOST
from chaos.engine.scope import Endpoint, Scope
from chaos.engine.wire import prepare
from chaos.errors import HarnessError
from chaos.faults import SIGNATURES
from chaos.faults.base import FaultStep
from chaos.faults.window import FaultWindow, Instruments, Wire
from chaos.links.probe import Paths
from chaos.spec.step import Send


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


def _wire(probe: Send, link: str, scope: Scope) -> Wire:
    """The probe's request with its variables and its actor's credentials filled in."""
    process = scope.stack.target.links[link].to
    endpoint = Endpoint(HOST, scope.stack.port(process), process, None)
    sender = scope.sender(probe.as_)
    requests = {}
    for connection in ("close", "keep-alive"):
        send = _with_header(probe, "Connection", connection)
        _, _, requests[connection], _ = prepare(send, scope, sender, endpoint)
    return Wire(
        close=requests["close"],
        keep_alive=requests["keep-alive"],
        head=probe.target()[0].upper() == "HEAD",
    )


def _with_header(send: Send, name: str, value: str) -> Send:
    return msgspec.structs.replace(send, headers={**(send.headers or {}), name: value})

"""The parent's side of the probing process: paired probes through a link and directly."""

import base64
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import msgspec
from msgspec import Raw, Struct

from chaos.clock import RunClock
from chaos.evidence.schema import Spoken
from chaos.links.probe.child import Child, Spawn

_WORKER = Path(__file__).with_name("worker.py")
_ANSWER_WITHIN_S = 5.0
_GAP_MS = 4.0

PathName = Literal["link", "direct"]
Address = tuple[str, int]


class Paths(Struct, frozen=True, kw_only=True):
    """The two ways to the same server: through the link's proxy, and directly."""

    link: Address
    direct: Address

    def address(self, path: PathName) -> Address:
        """Where a probe on `path` connects to."""
        return self.link if path == "link" else self.direct


class Ask(Struct, frozen=True, kw_only=True):
    """What a probe sends and when it stops looking.

    Without `request` a probe only connects. With `until_close` it reads on after the answer is whole,
    until the other side closes. `head` says that the answer has no body. An answer over `tcp` is whole when it
    ends in `ends`.
    """

    request: bytes = b""
    protocol: Spoken = "http"
    ends: bytes = b""
    head: bool = False
    until_close: bool = False
    give_up_ms: float = 2000.0


class Seen(Struct, frozen=True, kw_only=True):
    """What one probe saw; the columns of `chaos.evidence.schema.LinkProbe` that only it knows."""

    path: PathName
    connection: Literal["new", "established"]
    probed_ms: float
    connected_after_ms: float | None
    first_byte_after_ms: float | None
    last_byte_after_ms: float | None
    closed_after_ms: float | None
    received_bytes: int
    failure: str | None
    protocol: Spoken
    answer: str | None


_decode = msgspec.json.Decoder(list[Seen]).decode


class Prober:
    """Probes from a process of their own, with source address 127.0.0.2. Every call may raise ProbeError."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._keys = itertools.count(1)

    @classmethod
    async def start(cls, spawn: Spawn, clock: RunClock) -> Self:
        """Start the process; its times count from the origin of `clock`."""
        argv = [sys.executable, "-I", "-S", str(_WORKER), repr(clock.origin_s)]
        return cls(await Child.start(spawn, argv, "probing process"))

    async def stop(self) -> None:
        """End the process."""
        await self._child.stop()

    async def pairs(self, paths: Paths, ask: Ask, count: int) -> list[Seen]:
        """`count` pairs of new connections, link and direct in turn, some milliseconds apart.

        They overlap, so that many pairs through a slow link take no longer than one.
        """
        order: list[PathName] = ["link", "direct"] * count
        shots = [_shot(path, paths, ask, place * _GAP_MS) for place, path in enumerate(order)]
        return await self._ask({"do": "shoot", "shots": shots}, ask.give_up_ms)

    async def hold(self, paths: Paths) -> str:
        """Open one connection on each path and keep them; returns their key."""
        key = str(next(self._keys))
        await self._ask(
            {"do": "hold", "key": key, "addresses": {"link": paths.link, "direct": paths.direct}},
            2000,
        )
        return key

    async def look(self, key: str) -> list[Seen]:
        """Whether the held connections are open: the answer is `failure`, None for open."""
        return await self._ask({"do": "look", "key": key}, 0)

    async def spend(self, key: str, paths: Paths, ask: Ask) -> list[Seen]:
        """Use the held connections up: the link's is only listened to, the direct one is asked."""
        silent = msgspec.structs.replace(ask, request=b"")
        shots = [_shot("link", paths, silent, 0), _shot("direct", paths, ask, 0)]
        return await self._ask({"do": "spend", "key": key, "shots": shots}, ask.give_up_ms)

    async def release(self, key: str) -> None:
        """Close the held connections unused."""
        await self._ask({"do": "spend", "key": key, "shots": []}, 0)

    async def _ask(self, question: dict[str, object], takes_ms: float) -> list[Seen]:
        answer: Raw = await self._child.ask(question, _ANSWER_WITHIN_S + takes_ms / 1000)
        return _in_order(_decode(answer))


def _shot(path: PathName, paths: Paths, ask: Ask, delay_ms: float) -> dict[str, object]:
    return {
        "path": path,
        "address": paths.address(path),
        "delay_ms": delay_ms,
        "request": base64.b64encode(ask.request).decode(),
        "protocol": ask.protocol,
        "ends": base64.b64encode(ask.ends).decode(),
        "head": ask.head,
        "until_close": ask.until_close,
        "give_up_ms": ask.give_up_ms,
    }


def _in_order(seen: Sequence[Seen]) -> list[Seen]:
    return sorted(seen, key=lambda probe: probe.probed_ms)

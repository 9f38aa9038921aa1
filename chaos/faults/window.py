"""The life of one fault on a link: seen clean, switched on, proven, held, switched off, seen clean again."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from chaos.clock import RunClock
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import Recorder
from chaos.evidence.schema import LinkProbe, Mode, Spoken
from chaos.faults.base import FaultStep, Manner, Phase, Signature
from chaos.links.connections import Flow
from chaos.links.probe import Ask, Paths, Prober, Seen
from chaos.links.proxies import Toxic, ToxiproxyServer

ROUNDS: Final[dict[Phase, int]] = {"before": 6, "start": 6, "end": 3, "after": 40}
PAUSE_S: Final = 0.02
GIVE_UP_MS: Final = 10_000.0
NOTHING_INJECTED: Final = "sham: nothing was injected"


class Connections(Protocol):
    """Who counts a link's own connections."""

    async def own_before_now(self, link: str) -> int:
        """How many connections of the target's own traffic were accepted on `link` until now."""

    async def follow(self, link: str) -> str:
        """Look at what moves on the connections of `link` from now on; returns a key to ask for it by."""

    async def flows(self, link: str, key: str, *, over: bool) -> Sequence[Flow] | None:
        """What moved since then, or since this was asked last; None where nobody can tell."""


class Wire(Struct, frozen=True, kw_only=True):
    """What a link's probe sends, as bytes: once asking the server to close, once to stay.

    Only HTTP can ask for it; what else is answered stays open, unless the server closes of its own accord. An answer over
    `tcp` is whole when it ends in `ends`.
    """

    close: bytes = b""
    keep_alive: bytes = b""
    protocol: Spoken = "http"
    ends: bytes = b""
    head: bool = False

    def ask(self, manner: Manner) -> Ask:
        """What a probe sends when it is to be made in this manner."""
        request = self.keep_alive if manner.keep_alive else self.close
        return Ask(
            request=request,
            protocol=self.protocol,
            ends=self.ends,
            head=self.head,
            until_close=manner.until_close and (self.protocol == "http" or manner.needs_close),
            give_up_ms=manner.give_up_ms,
        )


class Instruments(Struct, frozen=True, kw_only=True):
    """What a window works with."""

    proxies: ToxiproxyServer
    prober: Prober
    connections: Connections
    recorder: Recorder
    clock: RunClock
    mode: Mode


class FaultWindow:
    """One fault, from `open` to `close`. Probes are recorded as they happen, the fault when it has ended.

    Whatever goes wrong on the way ends up in the record and in what `open` and `close` return; neither raises
    for it, so that the steps after it still run.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        step: FaultStep,
        signature: Signature,
        name: str,
        paths: Paths,
        wire: Wire,
        instruments: Instruments,
    ) -> None:
        self.why: str | None = None
        self.on_ms: float | None = None
        self.proven_ms: float | None = None
        self.off_ms: float | None = None
        self.clean_ms: float | None = None
        self._step = step
        self._signature = signature
        self._name = name
        self._paths = paths
        self._with = instruments
        self._attributes = attributes_of(step, wire)
        self._ask = wire.ask(signature.manner(self._attributes))
        self._probes: list[LinkProbe] = []
        self._held: str | None = None
        self._injected: Toxic | FaultStep | None = None
        self._own_before = 0
        self._followed: str | None = None
        self._knows_flows = False
        self._lock = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether the fault has ended and was recorded."""
        return self._closing is not None and self._closing.done()

    def may_have_ended(self, link: str | None, since_ms: float) -> bool:
        """Whether a connection over `link` may have been ended by this fault since then."""
        on = self._with.mode != "sham" and self.on_ms is not None
        over = self.off_ms is not None and self.off_ms < since_ms
        return on and not over and self._step.ends_connections and self._step.link == link

    async def open(self) -> str | None:
        """Switch the fault on. Returns None once it is proven, or why it was given up."""
        async with self._lock:
            try:
                await self._open()
            except HarnessError as error:
                self._blame(str(error))
        return self.why

    async def close(self) -> None:
        """Switch the fault off and see the path clean again. May be called any number of times, by anybody."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        # Whoever waits may be cancelled; the removal goes on.
        await asyncio.shield(self._closing)

    async def _open(self) -> None:
        if self._signature.holds_connections:
            self._held = await self._with.prober.hold(self._paths)
        reason = await self._watch("before")
        if reason is not None:
            # It could not be proven any more, and a probe that is too long for it would hang Toxiproxy.
            self._blame(f"before the fault: {reason}; it was not switched on")
            return
        if self._held is not None:
            self._record("before", await self._with.prober.look(self._held))
        self._own_before = await self._with.connections.own_before_now(self._step.link)
        self._followed = await self._with.connections.follow(self._step.link)
        self.on_ms = self._with.clock.now_ms()
        if self._with.mode == "sham":
            self.proven_ms = self.on_ms
            await self._round("start")
            return
        await self._inject()
        await self._prove()

    async def _inject(self) -> None:
        link, toxic = self._step.link, self._step.toxic()
        if toxic is None:
            self._injected = self._step
            await self._with.proxies.cut(link)
            return
        kind, attributes = toxic
        # Toxiproxy knows a toxic by its name alone; two windows may have the same kind on one link.
        name = f"{kind}-{next(self._numbers)}"
        asked = Toxic(name=name, type=kind, stream=self._step.direction, attributes=attributes)
        self._injected = asked
        await self._with.proxies.add_toxic(link, asked)

    async def _prove(self) -> None:
        if self._held is not None:
            key, self._held = self._held, None
            self._record("start", await self._with.prober.spend(key, self._paths, self._ask))
        reason = await self._watch("start") or self._signature.took_hold(
            self._attributes, self._probes, ("before", "start")
        )
        if reason is not None:
            self._blame(reason)
            return
        self.proven_ms = self._with.clock.now_ms()
        # Looked at before anybody goes on: what is seen from here on was inside.
        await self._record_flows(over=False)

    async def _close(self) -> None:
        async with self._lock:
            try:
                await self._switch_off()
            except HarnessError as error:
                self._blame(str(error))
            finally:
                self._write()

    async def _switch_off(self) -> None:
        if self._held is not None:
            await self._with.prober.release(self._held)
        if self.on_ms is None:
            self._blame("it was ended before it was switched on")
            return
        try:
            if self._with.mode == "sham":
                await self._round("end")
            elif self.proven_ms is not None:
                await self._watch("end")
            await self._record_flows(over=True)
        finally:
            # Stamped before the call: what is asked from here on may meet the link with or without the fault.
            self.off_ms = self._with.clock.now_ms()
            await self._remove()
        reason = await self._watch("after")
        if reason is None:
            self.clean_ms = self._with.clock.now_ms()
        else:
            self._blame(f"after the fault: {reason}")

    async def _remove(self) -> None:
        if isinstance(self._injected, Toxic):
            await self._with.proxies.remove_toxic(self._step.link, self._injected.name)
        elif self._injected is not None:
            await self._with.proxies.restore(self._step.link)
        self._injected = None

    async def _watch(self, phase: Phase) -> str | None:
        """Probe until the path looks as it should in this phase, or long enough; returns why it does not."""
        begun_ms = self._with.clock.now_ms()
        reason: str | None = None
        for attempt in range(ROUNDS[phase]):
            if attempt:
                await asyncio.sleep(PAUSE_S)
            await self._round(phase)
            reason = self._signature.looks(self._attributes, self._probes, phase)
            late = self._with.clock.now_ms() - begun_ms > GIVE_UP_MS
            if reason is None or late or self._with.proxies.problem is not None:
                break
        return reason

    async def _round(self, phase: Phase) -> None:
        count = self._signature.pairs(self._attributes)
        ask = self._ask
        if not self._signature.asks:
            ask = msgspec.structs.replace(ask, request=b"")
        self._record(phase, await self._with.prober.pairs(self._paths, ask, count))

    def _record(self, phase: Phase, seen: list[Seen]) -> None:
        recorder = self._with.recorder
        for probe in seen:
            columns = msgspec.structs.asdict(probe)
            columns |= {"link": self._step.link, "fault": self._name, "phase": phase}
            seq = recorder.add(LinkProbe, **columns)
            self._probes.append(
                LinkProbe(run_id=recorder.run_id, gate=recorder.gate, seq=seq, **columns)
            )

    async def _record_flows(self, *, over: bool) -> None:
        if self._followed is None:
            return
        key = self._followed
        self._followed = None if over else key
        link = self._step.link
        flows = await self._with.connections.flows(link, key, over=over)
        self._knows_flows = flows is not None
        for flow in flows or ():
            columns = msgspec.structs.asdict(flow)
            self._with.recorder.add(schema.LinkFlow, link=link, fault=self._name, **columns)

    def _blame(self, reason: str) -> None:
        """Keep the first reason: what follows from it says less."""
        self.why = self.why or reason

    def _write(self) -> None:
        proven = False
        if self._with.mode == "sham":
            self._blame(NOTHING_INJECTED)
        elif self.proven_ms is None:
            self._blame("it was ended before it was proven")
        else:
            reason = self._signature.took_hold(self._attributes, self._probes)
            proven = reason is None
            if reason is not None:
                self.why = reason
        self._with.recorder.add(
            schema.Fault,
            fault=self._name,
            kind=self._step.kind,
            link=self._step.link,
            direction="both" if self._step.kind == "cut" else self._step.direction,
            attributes=msgspec.Raw(msgspec.json.encode(self._attributes)),
            on_ms=self._with.clock.now_ms() if self.on_ms is None else self.on_ms,
            proven_ms=self.proven_ms,
            off_ms=self.off_ms,
            clean_ms=self.clean_ms,
            proven=proven,
            own_before=self._own_before,
            why=self.why,
            ends_connections=self._step.ends_connections,
            followed=self._knows_flows,
        )


def attributes_of(step: FaultStep, wire: Wire) -> dict[str, float]:
    """What is recorded as the fault's attributes: the toxic's, and how much an upstream fault has to act on."""
    toxic = step.toxic()
    attributes: dict[str, float] = {} if toxic is None else dict(toxic[1])
    if step.direction == "upstream":
        attributes["request_bytes"] = len(wire.close)
    return attributes

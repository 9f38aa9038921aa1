"""What all faults have in common: their options, what their signature looks at, and when it is there.

A fault is one file: a Struct with its attributes in the units of YAML and the least probe that tells it, and a
`Signature` that says what the fault looks like from outside. Everything here is pure, so that a judge who holds nothing but the
recorded probes comes to the same answer as the run that recorded them.
"""

import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, Literal

import msgspec
from msgspec import Struct

from chaos.evidence.schema import LinkProbe
from chaos.spec.step import Step
from chaos.spec.target import LinkSpec, Probe
from chaos.spec.units import Duration, Unit

Attributes = Mapping[str, float]
"""Attributes as recorded: Toxiproxy's names and units, and `request_bytes` where the direction is upstream."""

LEAST_HELLO_BYTES: Final = 200
SHARE_THAT_HOLDS: Final = 0.8
SHARE_THAT_IS_CLEAN: Final = 0.2
SHORTEST_DELAY_MS: Final = 25.0
LONGEST_DELAY_MS: Final = 60_000.0
LONGEST_TRANSFER_MS: Final = 5000.0
NOT_UNDERSTOOD: Final = frozenset({"400", "426", "505"})
"""Bad Request, Upgrade Required and HTTP Version Not Supported: what servers say to those who speak another protocol."""
_STATUS_LINE: Final = re.compile(r"HTTP/1\.\d ([1-5]\d\d)(?!\d)")
_OWN_PROTOCOL: Final = (
    "that is no answer to it, so it proves nothing; give the link a `probe` in its server's own protocol"
    " (a request, `websocket`, `tls`, or `tcp` with `answer`)"
)

Phase = Literal["before", "start", "end", "after"]


class ByteRate(Unit):
    """Bytes per second, `10KB/s` (1000 bytes each) or `2MB/s`; whole kilobytes, as Toxiproxy counts."""

    __slots__ = ("kb_per_s",)
    PATTERN = r"^[1-9]\d*(KB|MB)/s$"
    EXAMPLE = "10KB/s or 2MB/s"

    def _parse(self, text: str) -> None:
        match = re.fullmatch(r"([1-9]\d*)(KB|MB)/s", text)
        if match is None:
            raise self._refuse()
        self.kb_per_s = int(match[1]) * (1000 if match[2] == "MB" else 1)


class FaultStep(Step, frozen=True, kw_only=True):
    """A fault on a link: on until `clear`, or `for` a time that counts from when it was proven.

    `direction` is the way that is troubled. With `downstream`, the default, a request reaches the server
    and is executed, and it is its answer that is late or lost; with `upstream` the request itself is. A kind
    that `ends_connections` can end one before the last byte of an answer.
    """

    kind: ClassVar[str]
    ends_connections: ClassVar[bool] = False

    for_: Duration | None = None
    direction: Literal["downstream", "upstream"] = "downstream"

    @property
    def link(self) -> str:
        """The name of the link; it stands under the key that names the kind."""
        name = getattr(self, self.kind)
        assert isinstance(name, str)
        return name

    def toxic(self) -> tuple[str, dict[str, int]] | None:
        """(type, attributes) in Toxiproxy's names and units; None for a fault that is no toxic."""
        raise NotImplementedError

    def problem(self) -> str | None:
        """Why these attributes make no sense or cannot be seen, if so."""
        return None

    def unseen_by(self, link: LinkSpec) -> str | None:
        """Why the link's probe could not tell whether this fault is on, if so: what it takes at the least."""
        return carries(self, link)


class Manner(Struct, frozen=True, kw_only=True):
    """How a fault's probes ask: with which `Connection` header, until when they read, how long they wait.

    They read until the server closes where it can be asked to, or where nothing else tells (`needs_close`).
    """

    keep_alive: bool = False
    until_close: bool = True
    needs_close: bool = False
    give_up_ms: float = 5000.0


class Pair(Struct, frozen=True):
    """Two probes of the same moment: through the link, and its control past it."""

    link: LinkProbe
    direct: LinkProbe


Check = Callable[[Attributes, Sequence[Pair]], str | None]
Comparison = Callable[[float | None, float, str], str | None]
"""Of what was measured with what was asked for, and what it was that was measured."""


def _no_check(_attributes: Attributes, _probes: Sequence[LinkProbe]) -> str | None:
    return None


class Signature(Struct, frozen=True, kw_only=True):
    """What a fault looks like from outside.

    `clean` says why a path does not look as if the fault were away, `holds` why it does not look as if the
    fault were on; both get the last `pairs` pairs of one phase. `established` checks what became of
    connections that were open before. A fault that `refuses` lets nobody in, and ends what was open. Where it `asks` nothing, it
    is enough that there is a connection.
    """

    clean: Check
    holds: Check
    manner: Callable[[Attributes], Manner]
    pairs: Callable[[Attributes], int] = lambda _: 1
    established: Callable[[Attributes, Sequence[LinkProbe]], str | None] = _no_check
    holds_connections: bool = False
    refuses: bool = False
    asks: bool = True

    def took_hold(
        self,
        attributes: Attributes,
        probes: Sequence[LinkProbe],
        phases: Sequence[Phase] = ("before", "start", "end"),
    ) -> str | None:
        """None when the fault was away before, took hold, and held to its end; otherwise the reason why not."""
        for phase in phases:
            reason = self.looks(attributes, probes, phase)
            if reason is None and phase == "start":
                reason = self.established(attributes, probes)
            if reason is not None:
                return f"{_PHASES[phase]}: {reason}"
        return None

    def looks(
        self, attributes: Attributes, probes: Sequence[LinkProbe], phase: Phase
    ) -> str | None:
        """None when the last pairs of `phase` look as they should in it; otherwise the reason why not."""
        wanted = self.pairs(attributes)
        pairs = pairs_of(probes, phase)[-wanted:]
        if len(pairs) < wanted:
            return f"{len(pairs)} pairs of probes, not {wanted}"
        check = self.holds if phase in ("start", "end") else self.clean
        return check(attributes, pairs)

    def clean_again(self, attributes: Attributes, probes: Sequence[LinkProbe]) -> str | None:
        """None when the path was seen clean after the fault; otherwise the reason why not."""
        return self.looks(attributes, probes, "after")


class FaultKind(Struct, frozen=True):
    """A fault: how one is written, and what it looks like from outside."""

    spec: type[FaultStep]
    signature: Signature


_PHASES: Mapping[str, str] = {
    "before": "before the fault",
    "start": "when the fault was on",
    "end": "at the fault's end",
    "after": "after the fault",
}


def pairs_of(probes: Sequence[LinkProbe], phase: Phase) -> list[Pair]:
    """The pairs of new connections of a phase, in the order in which they were begun.

    Every probe through the link is paired with the control that follows it; what has no partner is left out.
    """
    pairs = []
    link: LinkProbe | None = None
    for probe in sorted(probes, key=lambda probe: probe.seq):
        if probe.phase != phase or probe.connection != "new":
            continue
        if probe.path == "link":
            link = probe
        elif link is not None:
            pairs.append(Pair(link, probe))
            link = None
    return pairs


def number(value: object) -> float | None:
    """A finite number, or None: NULL and NaN are no measurement."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def between(begin: float | None, end: float | None) -> float | None:
    """`end` less `begin` where both were measured."""
    begin, end = number(begin), number(end)
    return None if begin is None or end is None else end - begin


def answer_after(probe: LinkProbe) -> float | None:
    """Milliseconds from connected to the first byte."""
    return between(probe.connected_after_ms, probe.first_byte_after_ms)


def whole_after(probe: LinkProbe) -> float | None:
    """Milliseconds from connected to the last byte."""
    return between(probe.connected_after_ms, probe.last_byte_after_ms)


def lasted(probe: LinkProbe) -> float | None:
    """Milliseconds from the first byte to the last."""
    return between(probe.first_byte_after_ms, probe.last_byte_after_ms)


def closed_after_last(probe: LinkProbe) -> float | None:
    """Milliseconds from the last byte to the close."""
    return between(probe.last_byte_after_ms, probe.closed_after_ms)


def ended_after(probe: LinkProbe) -> float | None:
    """Milliseconds from connected to the end."""
    return between(probe.connected_after_ms, probe.closed_after_ms)


def answered(probe: LinkProbe, whose: str) -> str | None:
    """None when a whole answer was read; otherwise what happened instead."""
    if probe.failure is not None and (probe.answer is None or _understood(probe)):
        return f"{whose} failed: {probe.failure}"
    if number(probe.connected_after_ms) is None or not number(probe.received_bytes):
        return f"{whose} got no answer"
    if not _understood(probe):
        return f"{whose} was answered {probe.answer!r}: {_OWN_PROTOCOL}"
    return None


def _understood(probe: LinkProbe) -> bool:
    """Whether it was answered in the protocol that it spoke; over `tcp` nothing else is a whole answer."""
    if probe.protocol == "tcp":
        return True
    answer = probe.answer or ""
    if probe.protocol == "tls":
        return answer.startswith(r"\x16\x03")
    status = _STATUS_LINE.match(answer)
    if probe.protocol == "websocket":
        return status is not None and status[1] == "101"
    return status is not None and status[1] not in NOT_UNDERSTOOD


def all_answered(pairs: Sequence[Pair], *, link: bool) -> str | None:
    """None when every control, and every probe through the link if `link`, read a whole answer."""
    for pair in pairs:
        reason = answered(pair.direct, "the direct control")
        if reason is None and link:
            reason = answered(pair.link, "the probe through the link")
        if reason is not None:
            return reason
    return None


def clean_answers(_attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    """The `clean` of a fault that lets no answer through: None when every path answers."""
    return all_answered(pairs, link=True)


def median(values: Sequence[float | None]) -> float | None:
    """The median of measurements; None when there is none, or one of them is missing."""
    known = [value for value in map(number, values) if value is not None]
    return statistics.median(known) if known and len(known) == len(values) else None


def at_least(measured: float | None, asked: float, what: str) -> str | None:
    """None when `measured` reaches the share of `asked` that shows a fault."""
    if measured is None:
        return f"{what} was not measured"
    if measured < SHARE_THAT_HOLDS * asked:
        return f"{what} is {measured:.1f} ms, less than {SHARE_THAT_HOLDS:.0%} of {asked:.1f} ms"
    return None


def far_below(measured: float | None, asked: float, what: str) -> str | None:
    """None when `measured` is so little of `asked` that the fault is not there."""
    if measured is None:
        return f"{what} was not measured"
    if measured >= SHARE_THAT_IS_CLEAN * asked:
        return f"{what} is {measured:.1f} ms, not below {SHARE_THAT_IS_CLEAN:.0%} of {asked:.1f} ms"
    return None


def not_too_long(asked_ms: float) -> str | None:
    """None when a probe can wait for all of a slowed transfer.

    One that gave up would leave Toxiproxy with data for nobody, and that hangs the removal of the toxic.
    """
    if asked_ms <= LONGEST_TRANSFER_MS:
        return None
    return f"what the probe moves would take {asked_ms:.0f} ms: it may take at most {LONGEST_TRANSFER_MS:.0f}"


def slow_transfer(
    asked_ms: Callable[[Attributes, float], float],
    tells: Callable[[Attributes, float], str | None],
    answer_took: Callable[[LinkProbe], float | None],
) -> Signature:
    """The signature of a fault that makes a transfer longer, as `bandwidth` and `slicer` do.

    Of its attributes and the bytes that were moved, `asked_ms` is how long these take at the least, and `tells`
    why they do not tell, if so. `answer_took` measures an answer; a request is over when its answer begins.
    """

    def check(compare: Comparison) -> Check:
        def reason_of(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
            took = answer_after if "request_bytes" in attributes else answer_took
            reason = all_answered(pairs, link=True)
            for pair in pairs:
                moved_bytes = attributes.get("request_bytes", pair.link.received_bytes)
                asked = asked_ms(attributes, moved_bytes)
                reason = (
                    reason
                    or tells(attributes, moved_bytes)
                    or far_below(took(pair.direct), asked, "the direct control's time")
                    or compare(took(pair.link), asked, "the time through the link")
                )
            return reason

        return reason_of

    give_up_ms = 3 * LONGEST_TRANSFER_MS
    return Signature(
        clean=check(far_below),
        holds=check(at_least),
        manner=lambda _: Manner(give_up_ms=give_up_ms),
    )


def delay_problem(delay: Duration, what: str, *, zero: bool = False) -> str | None:
    """Why a delay cannot be put on a link and proven, if so."""
    if zero and delay.ms == 0:
        return None
    if delay.ms != int(delay.ms):
        return f"{what} is {delay}: Toxiproxy counts whole milliseconds"
    if not SHORTEST_DELAY_MS <= delay.ms <= LONGEST_DELAY_MS:
        or_zero = "0ms, or " if zero else ""
        return f"{what} is {delay}: it must be {or_zero}between 25ms, which noise is not mistaken for, and 60s"
    return None


def _request_bytes(send: Probe) -> int:
    """About how many bytes the probe sends, head included."""
    if send.tcp is not None:
        return len(send.tcp)
    if send.tls is not None:
        return LEAST_HELLO_BYTES
    body = send.body.encode() if send.body is not None else b""
    if send.json is not None:
        body = msgspec.json.encode(send.json)
    method, path = send.target()
    fields = sum(len(name) + len(value) + 4 for name, value in (send.headers or {}).items())
    return len(method) + len(path) + fields + len(body) + 60


def carries(step: FaultStep, link: LinkSpec) -> str | None:
    """Why the link's probe cannot show any signature, if so."""
    if link.probe is None:
        return (
            f"link {step.link} declares no `probe`, and without an answer only a cut can be proven"
        )
    if any(name.lower() == "connection" for name in link.probe.headers or {}):
        return f"the probe of {step.link} sets a Connection header, which the signature of a fault has to choose"
    return None


def moves(step: FaultStep, link: LinkSpec, least_bytes: float, why: str) -> str | None:
    """Why the link's probe does not move so many bytes the way that is troubled, if so; only a run knows an answer's size."""
    problem = carries(step, link)
    if problem is not None or link.probe is None:
        return problem
    if step.direction == "downstream":
        if link.probe.protocol != "http" or link.probe.target()[0].upper() != "HEAD":
            return None
        return f"the probe of {step.link} is a HEAD request: its answer has no body to tell {step.kind} by"
    size_bytes = _request_bytes(link.probe)
    return None if size_bytes >= least_bytes else f"the probe's request of {size_bytes} bytes {why}"

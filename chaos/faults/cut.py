"""`cut`: the link is down. New connections are refused and established ones end."""

from collections.abc import Sequence
from typing import ClassVar

from chaos.evidence.schema import LinkProbe
from chaos.faults.base import Attributes, FaultKind, FaultStep, Manner, Pair, Signature, number
from chaos.spec.target import LinkSpec


class Cut(FaultStep, frozen=True, kw_only=True):
    """`cut: gateway->memory`. It always ends both directions."""

    kind: ClassVar[str] = "cut"
    ends_connections: ClassVar[bool] = True

    cut: str

    def toxic(self) -> None:
        """A cut is no toxic: the proxy itself is disabled."""
        return

    def problem(self) -> str | None:
        """A cut has no direction."""
        return (
            "a cut ends both directions: leave `direction` out"
            if self.direction == "upstream"
            else None
        )

    def unseen_by(self, link: LinkSpec) -> None:
        """A connection that is refused tells it, without any answer."""
        del link


def _reached(probe: LinkProbe, whose: str) -> str | None:
    if probe.failure is not None:
        return f"{whose} failed: {probe.failure}"
    return f"{whose} did not connect" if number(probe.connected_after_ms) is None else None


def _clean(_attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    for pair in pairs:
        reason = _reached(pair.direct, "the direct control") or _reached(
            pair.link, "the probe through the link"
        )
        if reason is not None:
            return reason
    return None


def _holds(_attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    for pair in pairs:
        reason = _reached(pair.direct, "the direct control")
        if reason is not None:
            return reason
        # A dead server behind a live proxy accepts and then resets: that is no cut.
        if pair.link.failure != "refused" or number(pair.link.connected_after_ms) is not None:
            return f"a new connection was not refused but {pair.link.failure or 'answered'}"
    return None


def _established(_attributes: Attributes, probes: Sequence[LinkProbe]) -> str | None:
    held = {
        f"{probe.phase} {probe.path}": probe.failure
        for probe in probes
        if probe.connection == "established"
    }
    if not {"before link", "before direct", "start link", "start direct"} <= held.keys():
        return "no connection was held open from before"
    closed = held.pop("start link")
    if closed not in ("eof", "reset"):
        return f"an established connection was not closed but {closed or 'stayed open'}"
    for which, failure in held.items():
        if failure is not None:
            return f"the held connection ({which}) failed: {failure}"
    return None


FAULT = FaultKind(
    Cut,
    Signature(
        clean=_clean,
        holds=_holds,
        manner=lambda _: Manner(give_up_ms=1000.0),
        established=_established,
        holds_connections=True,
        refuses=True,
        # On a link that is slow as well, an answer may take longer than anybody waits.
        asks=False,
    ),
)

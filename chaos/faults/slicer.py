"""`slicer`: data arrives in small pieces with a pause after each."""

import math
from collections.abc import Sequence
from typing import ClassVar, Final

from chaos.faults.base import (
    LONGEST_TRANSFER_MS,
    Attributes,
    FaultKind,
    FaultStep,
    Manner,
    Pair,
    Signature,
    all_answered,
    answer_after,
    at_least,
    far_below,
    lasted,
    moves,
    not_too_long,
)
from chaos.spec.target import LinkSpec
from chaos.spec.units import Duration, Size

LEAST_SLICES: Final = 10


class Slicer(FaultStep, frozen=True, kw_only=True):
    """`slicer: gateway->memory` with the `size` of a slice, give or take `variation`, and the `delay` after each."""

    kind: ClassVar[str] = "slicer"

    slicer: str
    size: Size
    delay: Duration
    variation: Size = Size("0B")

    def toxic(self) -> tuple[str, dict[str, int]]:
        """Sizes in bytes, the delay in microseconds."""
        return "slicer", {
            "average_size": self.size.bytes,
            "size_variation": self.variation.bytes,
            "delay": round(self.delay.ms * 1000),
        }

    def problem(self) -> str | None:
        """A size of 0, or a variation as large as the size, kills Toxiproxy; without a delay nothing can be seen."""
        if self.size.bytes < 1:
            return "size must be at least 1B"
        if self.variation.bytes >= self.size.bytes:
            return f"variation is {self.variation}: it must be smaller than the size of {self.size}"
        if not 1 <= self.delay.ms <= 10_000:
            return f"delay is {self.delay}: it must be between 1ms, below which slices cannot be seen, and 10s"
        return None

    def unseen_by(self, link: LinkSpec) -> str | None:
        """It takes enough bytes for several slices."""
        least_bytes = LEAST_SLICES * (self.size.bytes + self.variation.bytes)
        return moves(self, link, least_bytes, f"does not make {LEAST_SLICES} slices of {self.size}")


def slices(attributes: Attributes, size_bytes: float) -> int:
    """The least number of slices that `size_bytes` can have been cut into."""
    return math.ceil(size_bytes / (attributes["average_size"] + attributes["size_variation"]))


def _asked_ms(attributes: Attributes, pair: Pair) -> float:
    count = slices(attributes, attributes.get("request_bytes", pair.link.received_bytes))
    return (count - 1) * attributes["delay"] / 1000


def _tells(attributes: Attributes, pair: Pair) -> str | None:
    count = slices(attributes, attributes.get("request_bytes", pair.link.received_bytes))
    if count >= LEAST_SLICES:
        # Slices are cut by halves, so there may be twice as many as are certain.
        return not_too_long(2 * _asked_ms(attributes, pair))
    return f"what the probe moved makes {count} slices: it takes {LEAST_SLICES} to tell"


def _took(attributes: Attributes, pair: Pair) -> tuple[float | None, float | None]:
    # A request's slices are over when the answer begins; an answer's are between its first and last byte.
    measure = answer_after if "request_bytes" in attributes else lasted
    return measure(pair.link), measure(pair.direct)


def _clean(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    reason = all_answered(pairs, link=True)
    for pair in pairs:
        asked_ms = _asked_ms(attributes, pair)
        through, past = _took(attributes, pair)
        reason = (
            reason
            or _tells(attributes, pair)
            or far_below(past, asked_ms, "the direct control's time")
        )
        reason = reason or far_below(through, asked_ms, "the time through the link")
    return reason


def _holds(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    reason = all_answered(pairs, link=True)
    for pair in pairs:
        asked_ms = _asked_ms(attributes, pair)
        through, past = _took(attributes, pair)
        reason = (
            reason
            or _tells(attributes, pair)
            or far_below(past, asked_ms, "the direct control's time")
        )
        reason = reason or at_least(through, asked_ms, "the time through the link")
    return reason


FAULT = FaultKind(
    Slicer,
    Signature(
        clean=_clean, holds=_holds, manner=lambda _: Manner(give_up_ms=3 * LONGEST_TRANSFER_MS)
    ),
)

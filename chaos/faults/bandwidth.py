"""`bandwidth`: only so many bytes pass per second."""

from collections.abc import Sequence
from typing import ClassVar, Final

from chaos.faults.base import (
    LONGEST_TRANSFER_MS,
    Attributes,
    ByteRate,
    FaultKind,
    FaultStep,
    Manner,
    Pair,
    Signature,
    all_answered,
    answer_after,
    at_least,
    far_below,
    moves,
    not_too_long,
    whole_after,
)
from chaos.spec.target import LinkSpec

LEAST_WORTH_MS: Final = 500.0


class Bandwidth(FaultStep, frozen=True, kw_only=True):
    """`bandwidth: gateway->memory` with `rate: 10KB/s`."""

    kind: ClassVar[str] = "bandwidth"

    bandwidth: str
    rate: ByteRate

    def toxic(self) -> tuple[str, dict[str, int]]:
        """In kilobytes of 1000 bytes per second."""
        return "bandwidth", {"rate": self.rate.kb_per_s}

    def unseen_by(self, link: LinkSpec) -> str | None:
        """It takes bytes that are worth a while."""
        least_bytes = self.rate.kb_per_s * LEAST_WORTH_MS
        why = f"is too small to tell {self.rate} by: it takes {least_bytes:.0f}"
        return moves(self, link, least_bytes, why)


def _worth_ms(attributes: Attributes, received_bytes: int) -> float:
    """How long these bytes take at the rate asked for: a kilobyte per second is a byte per millisecond."""
    return attributes.get("request_bytes", received_bytes) / attributes["rate"]


def _tells(worth_ms: float) -> str | None:
    if worth_ms >= LEAST_WORTH_MS:
        return not_too_long(worth_ms)
    return f"what the probe moved is worth {worth_ms:.0f} ms at this rate: it takes {LEAST_WORTH_MS:.0f} ms to tell"


def _took(attributes: Attributes, pair: Pair) -> tuple[float | None, float | None]:
    measure = answer_after if "request_bytes" in attributes else whole_after
    return measure(pair.link), measure(pair.direct)


def _clean(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    reason = all_answered(pairs, link=True)
    for pair in pairs:
        worth_ms = _worth_ms(attributes, pair.link.received_bytes)
        through, past = _took(attributes, pair)
        reason = (
            reason or _tells(worth_ms) or far_below(past, worth_ms, "the direct control's time")
        )
        reason = reason or far_below(through, worth_ms, "the time through the link")
    return reason


def _holds(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    reason = all_answered(pairs, link=True)
    for pair in pairs:
        worth_ms = _worth_ms(attributes, pair.link.received_bytes)
        through, past = _took(attributes, pair)
        reason = (
            reason or _tells(worth_ms) or far_below(past, worth_ms, "the direct control's time")
        )
        reason = reason or at_least(
            through, worth_ms, f"the time for {worth_ms:.0f} ms worth of bytes"
        )
    return reason


FAULT = FaultKind(
    Bandwidth,
    Signature(
        clean=_clean, holds=_holds, manner=lambda _: Manner(give_up_ms=3 * LONGEST_TRANSFER_MS)
    ),
)

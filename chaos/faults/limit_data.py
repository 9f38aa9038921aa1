"""`limit_data`: a connection ends after so many bytes."""

from collections.abc import Sequence
from typing import ClassVar

from chaos.faults.base import (
    Attributes,
    FaultKind,
    FaultStep,
    Manner,
    Pair,
    Signature,
    all_answered,
    moves,
    number,
)
from chaos.spec.target import LinkSpec
from chaos.spec.units import Size


class LimitData(FaultStep, frozen=True, kw_only=True):
    """`limit_data: gateway->memory` with `bytes: 200B`, counted on each connection, heads included."""

    kind: ClassVar[str] = "limit_data"
    ends_connections: ClassVar[bool] = True

    limit_data: str
    bytes: Size

    def toxic(self) -> tuple[str, dict[str, int]]:
        """In bytes."""
        return "limit_data", {"bytes": self.bytes.bytes}

    def problem(self) -> str | None:
        """Only the client's end of a link is looked at."""
        if self.direction == "upstream":
            return "what reached the server cannot be seen by a probe at the client's end: limit the downstream"
        return None

    def unseen_by(self, link: LinkSpec) -> str | None:
        """It takes an answer with a body."""
        return moves(self, link, 0, "")


def _clean(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    return all_answered(pairs, link=True) or _enough(attributes, pairs)


def _enough(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    limit = int(attributes["bytes"])
    shortest = min(pair.direct.received_bytes for pair in pairs)
    return (
        None
        if shortest > limit
        else f"the whole answer has {shortest} bytes, within the limit of {limit}"
    )


def _holds(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    reason = all_answered(pairs, link=False) or _enough(attributes, pairs)
    for pair in pairs:
        # Where an answer is framed by the close, the end that the limit makes looks like its own.
        ended = pair.link.failure in (None, "eof") and number(pair.link.closed_after_ms) is not None
        if not ended or pair.link.received_bytes != attributes["bytes"]:
            reason = reason or (
                f"{pair.link.received_bytes} bytes and {pair.link.failure or 'no close'}, "
                f"not {attributes['bytes']:.0f} bytes and the end"
            )
    return reason


FAULT = FaultKind(
    LimitData,
    Signature(clean=_clean, holds=_holds, manner=lambda _: Manner(give_up_ms=3000.0)),
)

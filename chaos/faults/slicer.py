"""`slicer`: data arrives in small pieces with a pause after each."""

import math
from typing import ClassVar, Final

from chaos.faults.base import (
    Attributes,
    FaultKind,
    FaultStep,
    lasted,
    moves,
    not_too_long,
    slow_transfer,
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


def _slices(attributes: Attributes, moved_bytes: float) -> int:
    """The least number of slices that so many bytes can have been cut into."""
    return math.ceil(moved_bytes / (attributes["average_size"] + attributes["size_variation"]))


def _asked_ms(attributes: Attributes, moved_bytes: float) -> float:
    return (_slices(attributes, moved_bytes) - 1) * attributes["delay"] / 1000


def _tells(attributes: Attributes, moved_bytes: float) -> str | None:
    count = _slices(attributes, moved_bytes)
    if count >= LEAST_SLICES:
        # Slices are cut by halves, so there may be twice as many as are certain.
        return not_too_long(2 * _asked_ms(attributes, moved_bytes))
    return f"what the probe moved makes {count} slices: it takes {LEAST_SLICES} to tell"


# An answer's slices are between its first and last byte.
FAULT = FaultKind(Slicer, slow_transfer(_asked_ms, _tells, lasted))

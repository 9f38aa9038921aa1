"""`bandwidth`: only so many bytes pass per second."""

from typing import ClassVar, Final

from chaos.faults.base import (
    Attributes,
    ByteRate,
    FaultKind,
    FaultStep,
    moves,
    not_too_long,
    slow_transfer,
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


def _worth_ms(attributes: Attributes, moved_bytes: float) -> float:
    """How long these bytes take at the rate asked for: a kilobyte per second is a byte per millisecond."""
    return moved_bytes / attributes["rate"]


def _tells(attributes: Attributes, moved_bytes: float) -> str | None:
    worth_ms = _worth_ms(attributes, moved_bytes)
    if worth_ms >= LEAST_WORTH_MS:
        return not_too_long(worth_ms)
    return f"what the probe moved is worth {worth_ms:.0f} ms at this rate: it takes {LEAST_WORTH_MS:.0f} ms to tell"


FAULT = FaultKind(Bandwidth, slow_transfer(_worth_ms, _tells, whole_after))

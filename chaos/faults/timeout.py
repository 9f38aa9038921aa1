"""`timeout`: a black hole. Nothing arrives, and after a time the connection is closed."""

from collections.abc import Sequence
from typing import ClassVar, Final

from chaos.faults.base import (
    Attributes,
    FaultKind,
    FaultStep,
    Manner,
    Pair,
    Signature,
    all_answered,
    clean_answers,
    delay_problem,
    ended_after,
    number,
)
from chaos.spec.units import Duration

SILENT_MS: Final = 500.0
TOLERANCE: Final = 0.2


class Timeout(FaultStep, frozen=True, kw_only=True):
    """`timeout: gateway->memory` with `after: 2s`; `0ms`, the default, is silence without an end."""

    kind: ClassVar[str] = "timeout"
    ends_connections: ClassVar[bool] = True

    timeout: str
    after: Duration = Duration("0ms")

    def toxic(self) -> tuple[str, dict[str, int]]:
        """In milliseconds."""
        return "timeout", {"timeout": int(self.after.ms)}

    def problem(self) -> str | None:
        """Noise must be small against the tolerance of the close."""
        return delay_problem(self.after, "after", zero=True)


def _holds(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    reason = all_answered(pairs, link=False)
    for pair in pairs:
        reason = reason or _silent(pair) or _ended(attributes["timeout"], pair)
    return reason


def _silent(pair: Pair) -> str | None:
    if number(pair.link.connected_after_ms) is None:
        return f"the probe through the link did not connect: {pair.link.failure}"
    if pair.link.first_byte_after_ms is not None or pair.link.received_bytes != 0:
        return f"{pair.link.received_bytes} bytes came through"
    return None


def _ended(asked_ms: float, pair: Pair) -> str | None:
    ended_ms = ended_after(pair.link)
    if ended_ms is None:
        return "when the silence ended was not measured"
    if asked_ms == 0:
        if pair.link.failure != "timeout" or ended_ms < SILENT_MS:
            return (
                f"it was not silent but {pair.link.failure or 'answered'} after {ended_ms:.0f} ms"
            )
        return None
    if pair.link.failure != "eof" or abs(ended_ms - asked_ms) > TOLERANCE * asked_ms:
        return f"it was not closed after {asked_ms:.0f} ms but {pair.link.failure or 'answered'} after {ended_ms:.0f} ms"
    return None


FAULT = FaultKind(
    Timeout,
    Signature(
        clean=clean_answers,
        holds=_holds,
        # A server that closed after its answer would end the silence.
        manner=lambda attributes: Manner(
            keep_alive=True,
            until_close=False,
            give_up_ms=1.5 * attributes["timeout"] + SILENT_MS + 100,
        ),
    ),
)

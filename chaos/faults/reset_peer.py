"""`reset_peer`: a new connection is reset instead of answered; established ones merely end."""

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
    clean_answers,
    delay_problem,
    number,
)
from chaos.spec.units import Duration


class ResetPeer(FaultStep, frozen=True, kw_only=True):
    """`reset_peer: gateway->memory`, `after` a time from the first byte; at once by default."""

    kind: ClassVar[str] = "reset_peer"
    ends_connections: ClassVar[bool] = True

    reset_peer: str
    after: Duration = Duration("0ms")

    def toxic(self) -> tuple[str, dict[str, int]]:
        """In milliseconds."""
        return "reset_peer", {"timeout": int(self.after.ms)}

    def problem(self) -> str | None:
        """The same bounds as for every delay."""
        return delay_problem(self.after, "after", zero=True)


def _holds(_attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    reason = all_answered(pairs, link=False)
    for pair in pairs:
        if pair.link.failure != "reset" or number(pair.link.connected_after_ms) is None:
            reason = (
                reason or f"a new connection was not reset but {pair.link.failure or 'answered'}"
            )
    return reason


FAULT = FaultKind(
    ResetPeer,
    Signature(
        clean=clean_answers,
        holds=_holds,
        manner=lambda attributes: Manner(give_up_ms=2000 + attributes["timeout"]),
    ),
)

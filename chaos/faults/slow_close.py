"""`slow_close`: a connection ends later than it was closed."""

from collections.abc import Sequence
from typing import ClassVar

from chaos.faults.base import (
    Attributes,
    Check,
    Comparison,
    FaultKind,
    FaultStep,
    Manner,
    Pair,
    Signature,
    all_answered,
    at_least,
    carries,
    closed_after_last,
    delay_problem,
    far_below,
)
from chaos.spec.target import LinkSpec
from chaos.spec.units import Duration


class SlowClose(FaultStep, frozen=True, kw_only=True):
    """`slow_close: gateway->memory` with `delay: 500ms` between the server's close and what the client sees."""

    kind: ClassVar[str] = "slow_close"

    slow_close: str
    delay: Duration

    def toxic(self) -> tuple[str, dict[str, int]]:
        """In milliseconds."""
        return "slow_close", {"delay": int(self.delay.ms)}

    def problem(self) -> str | None:
        """Only the client's end of a link is looked at."""
        if self.direction == "upstream":
            return "a slow close towards the server cannot be seen by a probe at the client's end"
        return delay_problem(self.delay, "delay")

    def unseen_by(self, link: LinkSpec) -> str | None:
        """It takes a server that closes after its answer."""
        problem = carries(self, link)
        if problem is not None or link.probe is None:
            return problem
        if link.probe.protocol in ("websocket", "tls"):
            return f"the probe of {self.link} is a handshake, after which no server closes: ask for something else"
        return None


def _check(compare: Comparison) -> Check:
    def reason_of(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
        asked = attributes["delay"]
        reason = all_answered(pairs, link=True)
        for pair in pairs:
            past, through = closed_after_last(pair.direct), closed_after_last(pair.link)
            reason = (
                reason
                or far_below(past, asked, "the direct control's time from last byte to close")
                or compare(through, asked, "the time from last byte to close")
            )
        return reason

    return reason_of


FAULT = FaultKind(
    SlowClose,
    Signature(
        clean=_check(far_below),
        holds=_check(at_least),
        # The server must close: only then is there a close to be delayed.
        manner=lambda attributes: Manner(
            needs_close=True, give_up_ms=2000 + 2 * attributes["delay"]
        ),
    ),
)

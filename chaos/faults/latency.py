"""`latency`: everything arrives later."""

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
    answer_after,
    at_least,
    between,
    delay_problem,
    far_below,
    median,
)
from chaos.spec.units import Duration


class Latency(FaultStep, frozen=True, kw_only=True):
    """`latency: gateway->memory` with `delay: 200ms`; `jitter` is drawn evenly around it."""

    kind: ClassVar[str] = "latency"

    latency: str
    delay: Duration
    jitter: Duration = Duration("0ms")

    def toxic(self) -> tuple[str, dict[str, int]]:
        """Both in milliseconds."""
        return "latency", {"latency": int(self.delay.ms), "jitter": int(self.jitter.ms)}

    def problem(self) -> str | None:
        """More jitter than half of the delay hides the delay from a few probes."""
        if self.jitter.ms != int(self.jitter.ms) or self.jitter.ms > self.delay.ms / 2:
            return f"jitter is {self.jitter}: it must be whole milliseconds, at most half of the delay of {self.delay}"
        return delay_problem(self.delay, "delay")


def _check(compare: Comparison) -> Check:
    def reason_of(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
        asked = attributes["latency"]
        control = median([answer_after(pair.direct) for pair in pairs])
        late = median(
            [between(answer_after(pair.direct), answer_after(pair.link)) for pair in pairs]
        )
        return (
            all_answered(pairs, link=True)
            or far_below(control, asked, "the direct control's time to answer")
            or compare(late, asked, "the median difference of link and direct")
        )

    return reason_of


FAULT = FaultKind(
    Latency,
    Signature(
        clean=_check(far_below),
        holds=_check(at_least),
        manner=lambda attributes: Manner(give_up_ms=1000 + 3 * attributes["latency"]),
        pairs=lambda attributes: 9 if attributes["jitter"] else 3,
    ),
)

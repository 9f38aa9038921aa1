"""`latency`: everything arrives later."""

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


def _controls(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    control = median([answer_after(pair.direct) for pair in pairs])
    return all_answered(pairs, link=True) or far_below(
        control, attributes["latency"], "the direct control's time to answer"
    )


def _difference(pairs: Sequence[Pair]) -> float | None:
    return median([between(answer_after(pair.direct), answer_after(pair.link)) for pair in pairs])


def _clean(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    what = "the median difference of link and direct"
    return _controls(attributes, pairs) or far_below(
        _difference(pairs), attributes["latency"], what
    )


def _holds(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    what = "the median difference of link and direct"
    return _controls(attributes, pairs) or at_least(_difference(pairs), attributes["latency"], what)


FAULT = FaultKind(
    Latency,
    Signature(
        clean=_clean,
        holds=_holds,
        manner=lambda attributes: Manner(give_up_ms=1000 + 3 * attributes["latency"]),
        pairs=lambda attributes: 9 if attributes["jitter"] else 3,
    ),
)
